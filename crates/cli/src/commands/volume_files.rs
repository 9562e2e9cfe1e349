//! What volumes can do beyond Docker: their files as an archive, copies, and who uses how much.

use std::io;

use docker_api::client::{escape, query};
use serde_json::{Value, json};

use super::{Entry, create_body, each};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, list, text, yes};
use crate::json::{items, text as field};
use crate::{human, output, printer};

/// The label of a snapshot: the volume it is of.
const SNAPSHOT_LABEL: &str = "teu.snapshot.of";

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        command: Command {
            words: "volume export",
            usage: "volume export [OPTIONS] VOLUME",
            about: "Write the files of a volume as a tar to a file or standard output",
            least: 1,
            most: 1,
            strict: false,
            flags: &[text("output", 'o', "Write to a file, instead of STDOUT")],
        },
        act: export,
    },
    Entry {
        command: Command {
            words: "volume import",
            usage: "volume import [OPTIONS] VOLUME FILE|-",
            about: "Fill a volume from a tar, all of it or nothing",
            least: 2,
            most: 2,
            strict: false,
            flags: &[yes("force", 'f', "Replace the files that the volume has")],
        },
        act: import,
    },
    Entry {
        command: Command {
            words: "volume clone",
            usage: "volume clone [OPTIONS] VOLUME NEW",
            about: "Make a volume with a copy of another one's files",
            least: 2,
            most: 2,
            strict: false,
            flags: &[
                list("label", '\0', "Set metadata for the new volume"),
                yes("pause", 'p', "Pause the containers that use it while it is copied"),
            ],
        },
        act: |context, _, given| {
            let labels = create_body::labels(given.all("label"), &[])?;
            copy(context, &given.args[0], &given.args[1], labels, given.on("pause"))
        },
    },
    Entry {
        command: Command {
            words: "volume snapshot",
            usage: "volume snapshot [OPTIONS] VOLUME [NAME]",
            about: "Keep a volume's files as they are now in a volume of its own",
            least: 1,
            most: 2,
            strict: false,
            flags: &[
                list("label", '\0', "Set metadata for the snapshot"),
                yes("pause", 'p', "Pause the containers that use it while it is copied"),
            ],
        },
        act: snapshot,
    },
    Entry {
        command: Command {
            words: "volume du",
            usage: "volume du [OPTIONS] [VOLUME...]",
            about: "Show how much lies in volumes, and who uses them",
            least: 0,
            most: usize::MAX,
            strict: false,
            flags: &[text("format", '\0', "Format output using a custom template"), yes("quiet", 'q', "Only display bytes and names")],
        },
        act: du,
    },
    Entry {
        command: Command {
            words: "volume update",
            usage: "volume update [OPTIONS] VOLUME",
            about: "Update a volume (cluster volumes only)",
            least: 1,
            most: 1,
            strict: false,
            flags: &[text("availability", '\0', "Cluster Volume availability (\"active\", \"pause\", \"drain\")")],
        },
        act: |context, _, given| {
            context.client()?.call::<Value>("GET", &format!("/volumes/{}", escape(&given.args[0])), None)?;
            Err(Failure::new("can only update cluster volumes"))
        },
    },
];

fn export(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let file = given.get("output").filter(|file| *file != "-");
    if file.is_none() && printer::stdout_is_terminal() {
        return Err(Failure::new("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
    }
    let mut answer = context.client()?.stream("GET", &format!("/volumes/{}/export", escape(&given.args[0])), None)?;
    match file {
        None => drop(io::copy(&mut answer, &mut io::stdout())?),
        Some(file) => write_file(file, &mut answer).map_err(|error| Failure::new(format!("cannot write {file}: {error}")))?,
    }
    Ok(0)
}

/// A file appears whole or not at all.
fn write_file(file: &str, from: &mut dyn io::Read) -> io::Result<()> {
    let path = std::path::Path::new(file);
    // Devices and pipes cannot be replaced.
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return io::copy(from, &mut std::fs::OpenOptions::new().write(true).open(path)?).map(drop);
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.part", std::process::id()));
    let mut write = || -> io::Result<()> {
        let mut output = std::fs::File::create(&temporary)?;
        io::copy(from, &mut output)?;
        output.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&temporary)))
}

fn import(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let (name, file) = (&given.args[0], &given.args[1]);
    let mut input: Box<dyn io::Read> = match file.as_str() {
        "-" => Box::new(io::stdin()),
        file => Box::new(std::fs::File::open(file).map_err(|error| Failure::new(format!("cannot read {file}: {error}")))?),
    };
    let query = query(&[("force", given.on("force").then_some("1"))]);
    let path = format!("/volumes/{}/import{query}", escape(name));
    let mut answer = context.client()?.upload("PUT", &path, "application/x-tar", &mut input)?;
    io::copy(&mut answer, &mut io::sink())?;
    printer::line(name);
    Ok(0)
}

#[allow(clippy::too_many_arguments, reason = "what one request says")]
fn copy(context: &mut Context, from: &str, to: &str, labels: Value, pause: bool) -> Outcome<u8> {
    let body = json!({"Name": to, "Labels": labels, "Pause": pause});
    let made: Value = context.client()?.call("POST", &format!("/volumes/{}/copy", escape(from)), Some(&body))?;
    printer::line(field(&made, "Name"));
    Ok(0)
}

fn snapshot(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let volume = &given.args[0];
    let name = match given.args.get(1) {
        Some(name) => name.clone(),
        None => format!("{volume}-{}", jiff::Zoned::now().strftime("%Y%m%dT%H%M%S")),
    };
    let mut labels = create_body::labels(given.all("label"), &[])?;
    labels[SNAPSHOT_LABEL] = volume.as_str().into();
    copy(context, volume, &name, labels, given.on("pause"))
}

fn du(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let mut names: Vec<String> = given.args.clone();
    if names.is_empty() {
        let found: Value = client.call("GET", "/volumes", None)?;
        names = items(&found, "Volumes").map(|volume| field(volume, "Name").to_owned()).collect();
        names.sort();
    }
    let mut rows = Vec::new();
    let code = each(&names, |name| {
        let usage: Value = client.call("GET", &format!("/volumes/{}/usage", escape(name)), None)?;
        rows.push(usage);
        Ok(None)
    })?;
    if given.on("quiet") {
        rows.iter().for_each(|row| printer::line(&format!("{}\t{}", row["DiskBytes"], field(row, "Name"))));
        return Ok(code);
    }
    let rows: Vec<Value> = rows
        .into_iter()
        .map(|mut row| {
            let users: Vec<String> = items(&row, "Users").map(|user| field(user, "Name").to_owned()).collect();
            let size = |name: &str| human::size(row.get(name).and_then(Value::as_f64).unwrap_or_default());
            let (size, disk) = (size("Bytes"), size("DiskBytes"));
            row["Size"] = size.into();
            row["OnDisk"] = disk.into();
            row["UsedBy"] = users.join(",").into();
            row
        })
        .collect();
    output::print(
        given.get("format"),
        &rows,
        &[("Name", "VOLUME NAME"), ("Size", "SIZE"), ("OnDisk", "ON DISK"), ("Files", "FILES"), ("UsedBy", "USED BY")],
        &[("Bytes", "BYTES"), ("DiskBytes", "DISK BYTES"), ("Directories", "DIRECTORIES")],
    )?;
    Ok(code)
}
