//! The help of each command must be Docker's, with examples and flags of our own added.

use std::process::Command;

use testkit::daemon::{Daemon, Network};

/// What a program prints as help, without our examples and Docker's notes on deprecation.
fn help(mut program: Command, words: &[&str]) -> String {
    let output = program.args(words).arg("--help").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let text = match text.split_once("\nExamples:\n") {
        Some((before, after)) => match after.split_once("\nOptions:\n") {
            Some((_, options)) => format!("{before}\nOptions:\n{options}"),
            None => before.to_owned(),
        },
        None => text,
    };
    text.split("\nDEPRECATED")
        .next()
        .unwrap_or_default()
        .trim_end()
        .replace("Usage:  teu ", "Usage:  docker ")
        .replace("  teu ", "  docker ")
        .replace(", teu ", ", docker ")
        .replace("\tteu ", "\tdocker ")
}

/// A help text as its paragraphs' lines and its flags, each in one piece with single blanks.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim_end) {
        let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
        // What is indented deeply goes on with the description of a flag.
        match pieces.last_mut().filter(|last| last.starts_with('-') && line.starts_with("        ") && !words.starts_with("--")) {
            Some(last) => *last = format!("{last} {words}"),
            None => pieces.push(words),
        }
    }
    pieces
}

/// Ours without the flags that Docker does not have.
fn common(ours: &str, theirs: &str) -> Vec<String> {
    let flag = |piece: &str| piece.split_whitespace().find(|word| word.starts_with("--")).map(str::to_owned);
    let known: Vec<String> = pieces(theirs).iter().filter_map(|piece| flag(piece)).collect();
    pieces(ours).into_iter().filter(|piece| !piece.starts_with('-') || flag(piece).is_none_or(|flag| known.contains(&flag))).collect()
}

/// Words listed as commands in a help text.
fn members(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("  ")?.split_once("  "));
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    lines.map(|(word, _)| word.trim().to_owned()).filter(|word| is_word(word)).collect()
}

#[test]
fn the_help_of_every_command_is_dockers() {
    let daemon = Daemon::start(crate::teu(), Network::Private).unwrap();
    let overview = help(daemon.command(), &[]);
    let mut commands: Vec<Vec<String>> = Vec::new();
    for word in members(&overview) {
        let text = help(daemon.command(), &[&word]);
        if text.lines().next().is_some_and(|usage| usage.ends_with(" COMMAND")) {
            let inner = members(&text);
            commands.extend(inner.into_iter().map(|inner| vec![word.clone(), inner]));
        } else {
            commands.push(vec![word]);
        }
    }
    // What Docker's program does not have, or leaves to a plugin of its own.
    let own = ["completion", "man", "daemon", "oci", "builder", "build", "buildx", "bake", "compose"];
    commands.retain(|words| !own.contains(&words[0].as_str()) && words.last().is_none_or(|word| word != "build"));
    assert!(commands.len() > 70, "only {} commands are listed", commands.len());
    let compare = |words: &Vec<String>| {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (ours, theirs) = (help(daemon.command(), &words), help(daemon.docker(), &words));
        // Words of our own are answered by Docker's program with its overview, or that of their group.
        (theirs.starts_with(&format!("Usage:  docker {}", words.join(" "))) && common(&ours, &theirs) != pieces(&theirs))
            .then(|| format!("{}\nours:\n{ours}\ndocker's:\n{theirs}", words.join(" ")))
    };
    let compare = &compare;
    let differences: Vec<String> = std::thread::scope(|scope| {
        let half = commands.len() / 2;
        let workers: Vec<_> = [&commands[..half], &commands[half..]]
            .map(|part| scope.spawn(move || part.iter().filter_map(compare).collect::<Vec<_>>()))
            .into();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(differences.is_empty(), "{} of {} differ\n{}", differences.len(), commands.len(), differences.join("\n\n"));
}
