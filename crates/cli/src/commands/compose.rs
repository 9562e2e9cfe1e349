//! `compose`: projects of several containers. One file per command or family; what a project is and what must be done for
//! it, the crate `compose` knows.

mod attached;
mod build;
mod config;
mod down;
mod exec;
mod files;
mod life;
mod list;
mod load;
mod logs;
mod output;
mod progress;
mod pull;
mod run;
mod session;
mod up;
mod wait;

use session::Session;

use super::{Entry, find};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::printer;

/// What a command of a project does.
type Act = fn(&mut Session<'_>, &Given) -> Outcome<u8>;

/// The commands, by the word after `compose`.
const COMMANDS: &[(&str, Act)] = &[
    ("compose attach", exec::attach),
    ("compose build", build::build),
    ("compose commit", files::commit),
    ("compose cp", files::cp),
    ("compose config", config::config),
    ("compose create", up::create),
    ("compose down", down::down),
    ("compose events", wait::events),
    ("compose exec", exec::exec),
    ("compose export", files::export),
    ("compose images", list::images),
    ("compose kill", life::kill),
    ("compose logs", logs::logs),
    ("compose ls", list::ls),
    ("compose pause", life::pause),
    ("compose port", list::port),
    ("compose ps", list::ps),
    ("compose pull", pull::pull),
    ("compose push", pull::push),
    ("compose restart", life::restart),
    ("compose rm", life::rm),
    ("compose run", run::run),
    ("compose scale", up::scale),
    ("compose start", life::start),
    ("compose stats", list::stats),
    ("compose stop", life::stop),
    ("compose top", list::top),
    ("compose unpause", life::unpause),
    ("compose up", up::up),
    ("compose version", list::version),
    ("compose volumes", list::volumes),
    ("compose wait", wait::wait),
];

/// The commands that can show what they would do, and those that change nothing.
const SHOWS_PLANS: [&str; 17] = [
    "compose config",
    "compose create",
    "compose down",
    "compose events",
    "compose images",
    "compose logs",
    "compose ls",
    "compose port",
    "compose ps",
    "compose restart",
    "compose scale",
    "compose start",
    "compose stop",
    "compose top",
    "compose up",
    "compose version",
    "compose volumes",
];

/// The entries of the table: the group itself, for the flags before the command, and each command.
pub(super) fn entries() -> Vec<Entry> {
    let group = Entry { command: described("compose"), act: group };
    let each = COMMANDS.iter().map(|(words, _)| Entry { command: described(words), act: direct });
    std::iter::once(group).chain(each).collect()
}

/// What Docker's client asks its plugins.
pub(super) fn metadata() -> String {
    let about = "Define and run applications of several containers";
    let version = format!("v{}", compose::labels::COMPOSE_VERSION);
    serde_json::json!({"SchemaVersion": "0.1.0", "Vendor": "teu", "Version": version, "ShortDescription": about}).to_string()
}

/// `compose COMMAND`, without flags between.
fn direct(context: &mut Context, command: &Command, given: &Given) -> Outcome<u8> {
    act(context, command.words, &Given::default(), given)
}

/// `compose FLAGS COMMAND`.
fn group(_: &mut Context, command: &Command, _: &Given) -> Outcome<u8> {
    // Unreachable by words: `run` reads the flags itself, for those of the command follow.
    Err(command.wrong("a command is missing".to_owned()))
}

fn act(context: &mut Context, words: &str, globals: &Given, given: &Given) -> Outcome<u8> {
    let (_, act) = COMMANDS.iter().find(|(name, _)| *name == words).ok_or_else(|| Failure::new(format!("unknown command: {words}")))?;
    let mut session = Session::new(context, globals, given);
    if session.dry_run && !SHOWS_PLANS.contains(&words) {
        return Err(Failure::new(format!("--dry-run is not served for {words}: nothing was done")));
    }
    act(&mut session, given)
}

/// Runs `compose` with the words after it: flags of the project, a command, its flags and words.
pub(super) fn run(context: &mut Context, words: &[String]) -> Outcome<u8> {
    let Some(found) = find("compose") else {
        return Err(Failure::new("the table of words has no `compose`"));
    };
    let mut command = found.command;
    (command.strict, command.least, command.most) = (true, 0, usize::MAX);
    let globals = command.parse(words)?;
    let Some(name) = globals.args.first().filter(|_| !globals.help) else {
        if globals.on("version") {
            return act(context, "compose version", &globals, &Given::default());
        }
        super::overview_of(context, "compose");
        return Ok(0);
    };
    if name == "help" {
        return match globals.args.get(1) {
            Some(about) => super::run(context, &["compose".to_owned(), about.clone(), "--help".to_owned()]),
            None => {
                super::overview_of(context, "compose");
                Ok(0)
            }
        };
    }
    // Docker's older name of it.
    let name = if name == "convert" { "config" } else { name };
    let words = format!("compose {name}");
    let Some(found) = find(&words).filter(|_| COMMANDS.iter().any(|(known, _)| *known == words)) else {
        return Err(Failure::Message { message: format!("unknown docker command: \"compose {name}\""), code: 1, run: false });
    };
    let given = found.command.parse(globals.args.get(1..).unwrap_or_default())?;
    if given.help {
        printer::raw(crate::help::command(&context.name, &words, found.section.as_ref(), &found.command).as_bytes());
        return Ok(0);
    }
    act(context, &words, &globals, &given)
}
