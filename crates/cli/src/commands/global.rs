//! What stands before the command: which engine, which configuration.

use crate::config;
use crate::context::{Context, Tls};
use crate::error::{Failure, Outcome};
use crate::flags::Given;
use crate::printer;
use crate::words::{self, Section};

/// Levels that `--log-level` knows.
const LEVELS: [&str; 8] = ["trace", "debug", "info", "warn", "warning", "error", "fatal", "panic"];

/// The flags before the command, as the table has them.
pub(super) fn section() -> Section {
    words::find("global").unwrap_or_default()
}

/// Reads them into the context and returns what follows; the exit code if there is nothing more to do.
pub(super) fn read(context: &mut Context, words: &[String]) -> Outcome<Result<Given, u8>> {
    let mut command = section().command("global", crate::flags::described(""));
    (command.words, command.usage, command.strict) = ("", "[OPTIONS] COMMAND [ARG...]", true);
    (command.least, command.most) = (0, usize::MAX);
    let given = command.parse(words)?;
    if given.on("version") {
        printer::line(&format!("Docker version 28.5.2, build teu {}", env!("CARGO_PKG_VERSION")));
        return Ok(Err(0));
    }
    if let Some(level) = given.get("log-level").filter(|level| !LEVELS.contains(level)) {
        return Err(Failure::new(format!("Unable to parse logging level: {level}")));
    }
    if let Some(folder) = given.get("config") {
        config::choose(folder);
    }
    context.host = given.get("host").map(str::to_owned);
    context.named = given.get("context").map(str::to_owned);
    let file = |flag: &str| given.get(flag).map(std::path::PathBuf::from);
    context.tls = Tls {
        on: given.on("tls"),
        verify: given.has("tlsverify").then(|| given.on("tlsverify")),
        ca: file("tlscacert"),
        cert: file("tlscert"),
        key: file("tlskey"),
    };
    if context.host.is_some() && context.named.is_some() {
        return Err(Failure::new("conflicting options: cannot specify both --host and --context"));
    }
    Ok(Ok(given))
}
