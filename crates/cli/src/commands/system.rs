//! `version` and `system dial-stdio`.

use serde_json::{Value, json};

use super::Entry;
use crate::context::Context;
use crate::error::Outcome;
use crate::flags::{Command, Given, described};
use crate::json::text as field;
use crate::ordered::Ordered;
use crate::{config, output, printer};

pub(super) const ENTRIES: &[Entry] =
    &[Entry { command: described("version"), act: version }, Entry { command: described("system dial-stdio"), act: dial }];

/// This program, in the fields of Docker's client.
fn own(version: &str) -> Value {
    let arch = if std::env::consts::ARCH == "x86_64" { "amd64" } else { std::env::consts::ARCH };
    json!({"Platform": {"Name": "teu"}, "Version": env!("CARGO_PKG_VERSION"), "ApiVersion": version, "DefaultAPIVersion": docker_api::client::VERSION, "Os": std::env::consts::OS, "Arch": arch, "Context": config::current_context().unwrap_or_else(|| "default".to_owned())})
}

fn version(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let answer = context.client().and_then(|mut client| {
        let server: Ordered = client.call("GET", "/version", None)?;
        Ok((client.version().to_owned(), server))
    });
    // Without an engine the client's own part is shown all the same, and then why.
    let (api, server, missing) = match answer {
        Ok((api, server)) => (api, server, None),
        Err(failure) => (docker_api::client::VERSION.to_owned(), Ordered::Null, Some(failure)),
    };
    let own = own(&api);
    if let Some(format) = given.get("format") {
        let client = serde_json::from_value(own)?;
        let both = Ordered::Map(vec![("Client".to_owned(), client), ("Server".to_owned(), server)]);
        output::structure("version", "system.versionInfo", format, &both)?;
        return missing.map_or(Ok(0), Err);
    }
    let server: Value = serde_json::from_str(&server.json())?;
    let line = |name: &str, value: &str| format!(" {name:<17} {value}\n");
    let mut text = format!(
        "Client: teu\n{}{}{}",
        line("Version:", field(&own, "Version")),
        line("API version:", &api),
        line("OS/Arch:", &format!("{}/{}", field(&own, "Os"), field(&own, "Arch")))
    );
    if let Some(failure) = missing {
        printer::raw(text.as_bytes());
        return Err(failure);
    }
    text.push_str(&format!("\nServer: {}\n", server.pointer("/Platform/Name").and_then(Value::as_str).unwrap_or_default()));
    text.push_str(&format!(" Engine:\n {}", line("Version:", field(&server, "Version"))));
    text.push_str(&format!(
        " {}",
        line("API version:", &format!("{} (minimum version {})", field(&server, "ApiVersion"), field(&server, "MinAPIVersion")))
    ));
    text.push_str(&format!(" {}", line("OS/Arch:", &format!("{}/{}", field(&server, "Os"), field(&server, "Arch")))));
    text.push_str(&format!(" {}", line("Kernel:", field(&server, "KernelVersion"))));
    printer::raw(text.as_bytes());
    Ok(0)
}

/// Bytes between the caller and the engine: what `ssh://` hosts run on the other side.
fn dial(context: &mut Context, _: &Command, _: &Given) -> Outcome<u8> {
    let client = context.client()?;
    let docker_api::client::Endpoint::Unix(path) = client.endpoint() else {
        return Ok(1);
    };
    let mut stream = std::os::unix::net::UnixStream::connect(path)?;
    let mut writer = stream.try_clone()?;
    std::thread::spawn(move || {
        let _ended = std::io::copy(&mut std::io::stdin(), &mut writer);
        let _gone = writer.shutdown(std::net::Shutdown::Write);
    });
    std::io::copy(&mut stream, &mut std::io::stdout())?;
    Ok(0)
}
