//! `up` with the containers' output: until they end, or a person ends them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, Sender};

use compose::observe::{self, Container};
use compose::plan;
use compose::watch::{Event, Events};
use docker_api::client::{Client, escape, query};
use serde_json::Value;

use super::output::Output;
use super::session::Session;
use super::up::Prepared;
use crate::error::{Failure, Outcome};
use crate::flags::Given;
use crate::{json, printer};

/// What wakes the one who watches.
enum Message {
    Happened(Event),
    Interrupted,
    /// A container's output has ended.
    Ended(String),
    /// The engine is gone.
    Lost,
    /// All that shall stop has stopped.
    Stopped,
}

struct Attached<'a> {
    client: Client,
    output: Output,
    /// Ids of containers whose output is shown, with their short names.
    names: BTreeMap<String, String>,
    /// Containers that live.
    alive: BTreeSet<String>,
    /// Those whose output still comes.
    open: BTreeSet<String>,
    sender: Sender<Message>,
    services: &'a BTreeSet<String>,
}

/// Why the watch ended.
enum End {
    /// Nothing lives any more.
    All,
    /// This container ended with that code, and the rest shall end with it.
    Aborted(String, i64),
    Interrupted,
}

pub(super) fn up(session: &mut Session<'_>, given: &Given, prepared: &mut Prepared, timeout: Option<i64>) -> Outcome<u8> {
    let (sender, messages) = mpsc::channel();
    on_signals(session, &sender)?;
    // First all are made, so that no word of theirs is lost; then they start.
    let with_start = prepared.up.clone();
    prepared.up.no_start = true;
    let (_, made) = prepared.plan()?;
    session.execute(&prepared.client, &prepared.desired, &made, timeout).map_err(interrupted)?;
    prepared.up = compose::plan::Up { recreate: plan::Recreate::Diverged, recreate_dependencies: plan::Recreate::Diverged, ..with_start };
    let (observed, starts) = prepared.plan()?;
    prepared.tell_running(session, &observed, &starts);
    let shown = shown(given, prepared)?;
    let mut attached = Attached {
        client: prepared.client.another(),
        output: Output::new(!given.on("no-color"), !given.on("no-log-prefix"), given.on("timestamps")),
        names: BTreeMap::new(),
        alive: BTreeSet::new(),
        open: BTreeSet::new(),
        sender: sender.clone(),
        services: &shown,
    };
    let events = Events::open(&prepared.client, &prepared.desired.name)?;
    std::thread::spawn(move || {
        for event in events {
            if sender.send(Message::Happened(event)).is_err() {
                return;
            }
        }
        let _nobody_listens = sender.send(Message::Lost);
    });
    let mine: Vec<&Container> =
        observed.containers.iter().filter(|container| shown.contains(container.service()) && !container.is_oneoff()).collect();
    let names: Vec<String> = mine.iter().map(|container| short(container)).collect();
    printer::line(&format!("Attaching to {}", names.join(", ")));
    for container in &mine {
        attached.attach(container)?;
    }
    let result = session.execute(&prepared.client, &prepared.desired, &starts, timeout);
    if let Err(failure) = result {
        if session.is_canceled() {
            gracefully(session, prepared, timeout, (&attached.sender, &messages))?;
            return Err(interrupted(failure));
        }
        return Err(failure);
    }
    let end = attached.watch(given, &messages)?;
    let channel = (&attached.sender, &messages);
    match end {
        End::All => exit_code(given, prepared, None),
        End::Aborted(service, code) => {
            printer::error("Aborting on container exit...");
            gracefully(session, prepared, timeout, channel)?;
            exit_code(given, prepared, Some((service, code)))
        }
        End::Interrupted => {
            printer::error("Gracefully Stopping... press Ctrl+C again to force");
            gracefully(session, prepared, timeout, channel)?;
            Ok(130)
        }
    }
}

/// What an interruption looks like from outside.
fn interrupted(failure: Failure) -> Failure {
    if failure.code() == 130 { Failure::Silent(130) } else { failure }
}

/// The services whose output is shown.
fn shown(given: &Given, prepared: &Prepared) -> Outcome<BTreeSet<String>> {
    let mut names: BTreeSet<String> = if !given.all("attach").is_empty() {
        given.all("attach").iter().cloned().collect()
    } else if given.args.is_empty() || given.on("attach-dependencies") {
        prepared.services.clone()
    } else {
        given.args.iter().cloned().collect()
    };
    for name in names.iter().chain(given.all("no-attach")) {
        if !prepared.desired.services.contains_key(name) {
            return Err(Failure::new(format!("no such service: {name}")));
        }
    }
    let attaches = |name: &String| {
        let attach = prepared.desired.services.get(name).and_then(|service| service.config.get("attach")).and_then(Value::as_bool);
        attach != Some(false) || given.all("attach").contains(name)
    };
    names.retain(|name| !given.all("no-attach").contains(name) && attaches(name));
    Ok(names)
}

/// A container's name without the project's, as Docker Compose shows it.
pub(super) fn short(container: &Container) -> String {
    let project = container.label(compose::labels::PROJECT);
    container.name.strip_prefix(&format!("{project}-")).unwrap_or(&container.name).to_owned()
}

fn on_signals(session: &Session<'_>, sender: &Sender<Message>) -> Outcome<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let (sender, canceled) = (sender.clone(), std::sync::Arc::clone(&session.canceled));
    std::thread::spawn(move || {
        for _ in signals.forever() {
            canceled.store(true, Ordering::Release);
            if sender.send(Message::Interrupted).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Both ends of what wakes the one who watches.
type Channel<'a> = (&'a Sender<Message>, &'a Receiver<Message>);

/// Stops what runs; a second signal kills it.
fn gracefully(session: &Session<'_>, prepared: &mut Prepared, timeout: Option<i64>, (sender, messages): Channel<'_>) -> Outcome<()> {
    let containers = observe::containers(&mut prepared.client, &prepared.desired.name)?;
    let mine: Vec<&Container> =
        containers.iter().filter(|container| prepared.services.contains(container.service()) && !container.is_oneoff()).collect();
    session.canceled.store(false, Ordering::Release);
    let plan = plan::stop(&mine, Some(&prepared.desired));
    let (client, desired) = (prepared.client.another(), &prepared.desired);
    std::thread::scope(|scope| {
        let stopper = scope.spawn(|| {
            let result = session.execute(&client, desired, &plan, timeout);
            let _nobody_listens = sender.send(Message::Stopped);
            result
        });
        let mut killer = prepared.client.another();
        while let Ok(message) = messages.recv() {
            match message {
                Message::Stopped => break,
                // Nothing of the project may be left running behind a person who insists.
                Message::Interrupted => {
                    session.canceled.store(false, Ordering::Release);
                    for container in mine.iter().filter(|container| container.is_running()) {
                        // It may have ended by itself.
                        let _ended = killer.call::<Value>("POST", &format!("/containers/{}/kill", escape(&container.id)), None);
                    }
                }
                Message::Happened(_) | Message::Ended(_) | Message::Lost => {}
            }
        }
        stopper.join().unwrap_or_else(|_| Err(Failure::new("stopping failed")))
    })
}

/// Docker Compose's exit code of `up`.
fn exit_code(given: &Given, prepared: &mut Prepared, aborted: Option<(String, i64)>) -> Outcome<u8> {
    let code = |code: i64| u8::try_from(code & 0xff).unwrap_or(255);
    let Some(name) = given.get("exit-code-from") else {
        return Ok(aborted.map_or(0, |(_, exit)| code(exit)));
    };
    if let Some((_, exit)) = aborted.filter(|(service, _)| service == name) {
        return Ok(code(exit));
    }
    let containers = observe::containers(&mut prepared.client, &prepared.desired.name)?;
    let found = containers.iter().find(|container| container.service() == name && !container.is_oneoff());
    Ok(found.and_then(Container::exit_code).map_or(0, code))
}

impl Attached<'_> {
    /// Shows what a container says from now on.
    fn attach(&mut self, container: &Container) -> Outcome<()> {
        let name = short(container);
        self.names.insert(container.id.clone(), name);
        if container.is_running() {
            self.alive.insert(container.id.clone());
        }
        self.show(&container.id, "attach")
    }

    /// `attach` shows from now on; `logs` from the last start.
    fn show(&mut self, id: &str, how: &str) -> Outcome<()> {
        if !self.open.insert(id.to_owned()) {
            return Ok(());
        }
        let found: Value = self.client.call("GET", &format!("/containers/{}/json", escape(id)), None)?;
        let tty = found.pointer("/Config/Tty").and_then(Value::as_bool).unwrap_or_default();
        let part = self.output.part(self.names.get(id).map_or(id, String::as_str));
        let (sender, id) = (self.sender.clone(), id.to_owned());
        if how == "attach" {
            let mut stream = self.client.hijack(&format!("/containers/{}/attach?stream=1&stdout=1&stderr=1", escape(&id)), None)?;
            std::thread::spawn(move || {
                part.copy(&mut stream.reader, !tty);
                let _nobody_listens = sender.send(Message::Ended(id));
            });
        } else {
            let since = found.pointer("/State/StartedAt").and_then(Value::as_str).map(str::to_owned);
            let query = query(&[("stdout", Some("1")), ("stderr", Some("1")), ("follow", Some("1")), ("since", since.as_deref())]);
            let mut stream = self.client.another().stream("GET", &format!("/containers/{}/logs{query}", escape(&id)), None)?;
            std::thread::spawn(move || {
                part.copy(&mut stream, !tty);
                let _nobody_listens = sender.send(Message::Ended(id));
            });
        }
        Ok(())
    }

    /// Follows what happens until nothing lives, a person ends it, or one container's end ends all.
    fn watch(&mut self, given: &Given, messages: &Receiver<Message>) -> Outcome<End> {
        let any = given.on("abort-on-container-exit") || given.has("exit-code-from");
        let failure = given.on("abort-on-container-failure");
        // Exits whose container's last words are not shown yet.
        let mut told: BTreeMap<String, (String, i64)> = BTreeMap::new();
        let mut abort = None;
        loop {
            match messages.recv() {
                Err(_) | Ok(Message::Lost) => return Err(Failure::new("error during connect: the daemon has ended")),
                Ok(Message::Interrupted) => return Ok(End::Interrupted),
                Ok(Message::Stopped) => {}
                Ok(Message::Ended(id)) => {
                    self.open.remove(&id);
                    self.tell(&id, &mut told);
                }
                Ok(Message::Happened(event)) => {
                    let service = event.attributes.get(compose::labels::SERVICE).cloned().unwrap_or_default();
                    match event.action.as_str() {
                        "start" if self.services.contains(&service) => {
                            self.alive.insert(event.id.clone());
                            self.names.entry(event.id.clone()).or_insert_with(|| event.attributes.get("name").cloned().unwrap_or_default());
                            self.show(&event.id, "logs")?;
                        }
                        "die" => {
                            let code = event.attributes.get("exitCode").and_then(|code| code.parse().ok()).unwrap_or_default();
                            if self.names.contains_key(&event.id) {
                                told.insert(event.id.clone(), (service.clone(), code));
                                self.tell(&event.id, &mut told);
                            }
                            if !self.restarts(&event.id) {
                                self.alive.remove(&event.id);
                                if abort.is_none() && self.names.contains_key(&event.id) && (any || failure && code != 0) {
                                    abort = Some((service, code));
                                }
                            }
                        }
                        "destroy" => {
                            self.alive.remove(&event.id);
                        }
                        _ => {}
                    }
                }
            }
            // The last words of what has ended are shown before the end of all.
            if told.is_empty() {
                if let Some((service, code)) = abort.take() {
                    return Ok(End::Aborted(service, code));
                }
                if self.alive.is_empty() && self.open.is_empty() {
                    return Ok(End::All);
                }
            }
        }
    }

    /// Says how a container ended, after its last words.
    fn tell(&self, id: &str, told: &mut BTreeMap<String, (String, i64)>) {
        if !self.open.contains(id)
            && let Some((_, code)) = told.remove(id)
        {
            let name = self.names.get(id).map_or(id, String::as_str);
            printer::line(&format!("{name} exited with code {code}"));
        }
    }

    /// Whether the engine will start a container again.
    fn restarts(&mut self, id: &str) -> bool {
        let Ok(found) = self.client.call::<Value>("GET", &format!("/containers/{}/json", escape(id)), None) else { return false };
        let state = found.get("State").cloned().unwrap_or_default();
        let flag = |field: &str| state.get(field).and_then(Value::as_bool).unwrap_or_default();
        flag("Restarting") || flag("Running") || json::text(&state, "Status") == "restarting"
    }
}
