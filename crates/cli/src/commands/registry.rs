//! Registries: pull, push, login, logout, search.

use std::io::{Read as _, Write as _};

use docker_api::client::{Client, Error, escape, query};
use serde_json::{Value, json};

use super::{Entry, filters};
use crate::context::Context;
use crate::credentials::{self, Auth, HUB_KEY, Store};
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::json::{number, text as field};
use crate::output::{self, Column};
use crate::progress::{self, Style, Target};
use crate::reference::Reference;
use crate::{printer, terminal};

pub(super) const ENTRIES: &[Entry] = &[
    Entry { command: described("pull"), act: pull },
    Entry { command: described("push"), act: push },
    Entry { command: described("login"), act: login },
    Entry { command: described("logout"), act: logout },
    Entry { command: described("search"), act: search },
];

/// A client whose requests carry the credentials for the registry of `domain`.
pub(super) fn client_for(client: &Client, domain: &str) -> Outcome<Client> {
    let auth = Store::open()?.get(credentials::key(domain))?;
    Ok(client.with_registry_auth(auth.header()))
}

/// A name that is wrong is told as Docker's client tells it, which checks before it asks.
pub(super) fn local(error: Error) -> Failure {
    match error {
        Error::Api { message, .. } if message.starts_with("invalid reference format") || message.starts_with("repository name must") => {
            Failure::new(message)
        }
        other @ (Error::Connect { .. } | Error::Api { .. } | Error::Broken(_) | Error::Json(_)) => other.into(),
    }
}

/// Pulls an image for a command that needs it.
pub(super) fn pull_for(client: &Client, image: &str, platform: Option<&str>, quiet: bool) -> Outcome<()> {
    let name = Reference::new(image).or_latest();
    let mut client = client_for(client, &name.domain)?;
    let answer = client.stream("POST", &create_path(&name, platform), None).map_err(local)?;
    progress::show(answer, Target::Stderr, if quiet { Style::Quiet } else { Target::Stderr.style() })
}

fn create_path(name: &Reference, platform: Option<&str>) -> String {
    let (repository, tag) = (familiar(name), name.digest.as_deref().or(name.tag.as_deref()));
    format!("/images/create{}", query(&[("fromImage", Some(&repository)), ("tag", tag), ("platform", platform)]))
}

/// The repository as people write it.
pub(super) fn familiar(name: &Reference) -> String {
    if name.domain != "docker.io" {
        return name.repository();
    }
    name.path.strip_prefix("library/").filter(|rest| !rest.contains('/')).unwrap_or(&name.path).to_owned()
}

/// Which progress is wanted.
fn style(given: &Given) -> Outcome<Style> {
    if given.on("quiet") {
        return Ok(Style::Quiet);
    }
    match given.get("progress") {
        None | Some("auto") => Ok(Target::Stdout.style()),
        Some("plain") => Ok(Style::Plain),
        Some("tty") => Ok(Style::Bars),
        Some("json") => Ok(Style::Json),
        Some("quiet") => Ok(Style::Quiet),
        Some(other) => Err(Failure::new(format!("invalid progress mode `{other}`: must be one of auto, plain, tty, json, quiet"))),
    }
}

fn platform(given: &Given) -> Option<String> {
    let variable = || std::env::var("DOCKER_DEFAULT_PLATFORM").ok();
    given.get("platform").map(str::to_owned).or_else(variable).filter(|platform| !platform.is_empty())
}

fn pull(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let style = style(given)?;
    let mut name = Reference::new(&given.args[0]);
    if given.on("all-tags") {
        if !name.is_bare() {
            return Err(Failure::new("tag can't be used with --all-tags/-a"));
        }
    } else if name.is_bare() {
        name = name.or_latest();
        if !matches!(style, Style::Quiet | Style::Json) {
            printer::line("Using default tag: latest");
        }
    }
    let client = context.client()?;
    let answer = client_for(&client, &name.domain)?.stream("POST", &create_path(&name, platform(given).as_deref()), None);
    progress::show(answer.map_err(local)?, Target::Stdout, style)?;
    if style != Style::Json {
        printer::line(&name.to_string());
    }
    Ok(0)
}

fn push(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let style = style(given)?;
    let mut name = Reference::new(&given.args[0]);
    if given.on("all-tags") {
        if !name.is_bare() {
            return Err(Failure::new("tag can't be used with --all-tags/-a"));
        }
    } else if name.is_bare() {
        name = name.or_latest();
        if !matches!(style, Style::Quiet | Style::Json) {
            printer::line("Using default tag: latest");
        }
    }
    let client = context.client()?;
    let path = familiar(&name).split('/').map(escape).collect::<Vec<_>>().join("/");
    let query = query(&[("tag", name.tag.as_deref()), ("platform", given.get("platform"))]);
    let answer = client_for(&client, &name.domain)?.stream("POST", &format!("/images/{path}/push{query}"), None);
    progress::show(answer.map_err(local)?, Target::Stdout, style)?;
    if style == Style::Quiet {
        printer::line(&name.to_string());
    }
    Ok(0)
}

/// Pushes one image to the registry in its name, and shows how it goes on standard error.
pub(super) fn push_name(context: &Context, name: &str) -> Outcome<()> {
    let name = Reference::new(name).or_latest();
    let path = familiar(&name).split('/').map(escape).collect::<Vec<_>>().join("/");
    let query = query(&[("tag", name.tag.as_deref())]);
    let answer = client_for(&context.client()?, &name.domain)?.stream("POST", &format!("/images/{path}/push{query}"), None);
    progress::show(answer.map_err(local)?, Target::Stderr, Style::Quiet)?;
    Ok(())
}

/// The server that is meant and what its credentials are kept under.
fn server(given: &Given) -> (String, bool) {
    match given.args.first().map(String::as_str) {
        None | Some("" | "docker.io") => (HUB_KEY.to_owned(), true),
        Some(server) => (server.to_owned(), server == HUB_KEY),
    }
}

fn login(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let from_stdin = given.on("password-stdin");
    if from_stdin && given.has("password") {
        return Err(Failure::new("conflicting options: cannot specify both --password and --password-stdin"));
    }
    if from_stdin && !given.has("username") {
        return Err(Failure::new("the --password-stdin option requires --username to be set"));
    }
    let mut password = given.get("password").unwrap_or_default().to_owned();
    if !password.is_empty() {
        printer::error("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    if from_stdin {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        text.trim_end_matches(['\r', '\n']).clone_into(&mut password);
    }
    let (server, is_hub) = server(given);
    let key = if is_hub { HUB_KEY } else { credentials::host(&server) }.to_owned();
    let user = given.get("username").unwrap_or_default().trim().to_owned();
    let mut store = Store::open()?;
    let client = context.client()?;
    if user.is_empty() && password.is_empty() {
        let kept = store.get(&key)?;
        if !kept.username.is_empty() && !kept.password.is_empty() {
            printer::error(&format!("Authenticating with existing credentials... [Username: {}]", kept.username));
            printer::error("");
            printer::error(&format!(
                "Info → To login with a different account, run '{0} logout' followed by '{0} login'\n\n",
                context.name
            ));
            match ask(&client, &kept) {
                Ok(answer) => return keep(&mut store, &key, kept, &answer),
                Err(Error::Api { status: 401, .. }) => printer::error("Stored credentials invalid or expired"),
                Err(error) => printer::error(&format!("Login did not succeed, error: {error}")),
            }
        }
    }
    if (user.is_empty() || password.is_empty()) && !terminal::stdin_is_terminal() {
        return Err(Failure::new("Error: Cannot perform an interactive login from a non TTY device"));
    }
    let username = if user.is_empty() { prompt("Username: ", false)? } else { user };
    if username.is_empty() {
        return Err(Failure::new("Error: Non-null Username Required"));
    }
    if password.is_empty() {
        password = prompt("Password: ", true)?;
    }
    if password.is_empty() {
        return Err(Failure::new("Error: Password Required"));
    }
    let auth = Auth { username, password, serveraddress: key.clone(), ..Auth::default() };
    let answer = ask(&client, &auth)?;
    keep(&mut store, &key, auth, &answer)
}

/// Lets the engine try the credentials.
fn ask(client: &Client, auth: &Auth) -> Result<Value, Error> {
    client.another().call("POST", "/auth", Some(&serde_json::to_value(auth)?))
}

fn keep(store: &mut Store, key: &str, mut auth: Auth, answer: &Value) -> Outcome<u8> {
    let token = field(answer, "IdentityToken");
    if !token.is_empty() {
        auth.password.clear();
        token.clone_into(&mut auth.identitytoken);
    }
    if store.put(key, &auth)? {
        printer::error(&format!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n",
            store.path().display()
        ));
    }
    let status = field(answer, "Status");
    if !status.is_empty() {
        printer::line(status);
    }
    Ok(0)
}

/// Asks a person; a secret is not shown while it is typed.
fn prompt(question: &str, secret: bool) -> Outcome<String> {
    printer::raw(question.as_bytes());
    let quiet = secret.then(terminal::NoEcho::enter).flatten();
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if quiet.is_some() {
        printer::line("");
    }
    std::io::stdout().flush()?;
    Ok(answer.trim_end_matches(['\r', '\n']).to_owned())
}

fn logout(_: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let (server, is_hub) = match given.args.first().map(String::as_str) {
        None | Some("") => (HUB_KEY, true),
        Some(server) => (server, false),
    };
    let host = if is_hub { HUB_KEY } else { credentials::host(server) };
    printer::line(&format!("Removing login credentials for {host}"));
    let (plain, secure) = (format!("http://{host}"), format!("https://{host}"));
    let keys = if is_hub { vec![HUB_KEY] } else { vec![server, host, &plain, &secure] };
    if let Err(failure) = Store::open()?.erase(&keys) {
        printer::error("WARNING: could not erase credentials:");
        printer::error(&format!("{server}: {}", failure.text("").unwrap_or_default()));
    }
    Ok(0)
}

fn search(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let term = &given.args[0];
    let domain = match term.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    };
    given.number("limit")?;
    let client = context.client()?;
    let filters = filters(given)?;
    let query = query(&[("term", Some(term)), ("limit", given.get("limit")), ("filters", filters.as_deref())]);
    let found: Vec<Value> = client_for(&client, domain)?.call("GET", &format!("/images/search{query}"), None)?;
    let whole = given.on("no-trunc");
    let rows: Vec<Value> = found
        .iter()
        .map(|hit| {
            let text = field(hit, "description").replace(['\n', '\r'], " ");
            let text = if whole || text.chars().count() <= 45 { text } else { text.chars().take(44).chain(['…']).collect() };
            let official = hit.get("is_official").and_then(Value::as_bool) == Some(true);
            let mark = if official { "[OK]" } else { "" };
            json!({"Name": field(hit, "name"), "Description": text, "StarCount": number(hit, "star_count").to_string(), "IsOfficial": mark, "IsAutomated": ""})
        })
        .collect();
    let columns: [Column; 4] = [("Name", "NAME"), ("Description", "DESCRIPTION"), ("StarCount", "STARS"), ("IsOfficial", "OFFICIAL")];
    output::print(given.get("format"), &rows, &columns, &[("IsAutomated", "AUTOMATED")])?;
    Ok(0)
}
