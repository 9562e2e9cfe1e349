//! `debug`: a shell with tools beside a container that may have none.
//!
//! The tools come in a container of their own, removed at the end, that joins the namespaces of the
//! one to look at: nothing is put into that one, and its limits are not used up.

use std::io::{Cursor, Read as _};

use docker_api::archive::path::CopyEnd;
use docker_api::client::{Client, escape, query};
use serde_json::Value;

use super::Entry;
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::json::text as field;
use crate::{printer, progress, terminal};

pub(super) const ENTRIES: &[Entry] = &[Entry { command: described("debug"), act: debug }];

/// Where Debian, Alpine and others keep a busybox.
const BUSYBOX: [&str; 4] = ["/bin/busybox", "/usr/bin/busybox", "/sbin/busybox.static", "/usr/local/bin/busybox"];
/// Name of the image that holds it.
const IMAGE: &str = "teu-debug";
/// Largest busybox that is believed to be one.
const BUSYBOX_BYTES_MAX: u64 = 32 << 20;
/// Puts the tools into the path of the image of our own, then runs what was asked for.
const START: &str = "/bin/busybox --install -s /bin; exec \"$@\"";

fn debug(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let container: Value = client.call("GET", &format!("/containers/{}/json", escape(&given.args[0])), None)?;
    let own = given.get("image").is_none();
    let image = match given.get("image") {
        Some(image) => image.to_owned(),
        None => tools(&mut client)?,
    };
    let id = field(&container, "Id").to_owned();
    let running = container.pointer("/State/Running").and_then(Value::as_bool) == Some(true);
    let mut words: Vec<String> = ["run", "--rm", "-i", "--init", "--label", &format!("teu.debug={id}")].map(str::to_owned).into();
    if terminal::stdin_is_terminal() && printer::stdout_is_terminal() {
        words.push("-t".to_owned());
    }
    for variable in given.all("env") {
        words.extend(["-e".to_owned(), variable.clone()]);
    }
    let folder = if running {
        words.retain(|word| word != "--init");
        join(&container, &id, &mut words)
    } else {
        "/container".to_owned()
    };
    words.push(image);
    if own {
        words.extend(["/bin/sh", "-c", START, "sh"].map(str::to_owned));
    }
    let asked = given.args.get(1..).unwrap_or_default();
    if asked.is_empty() {
        words.push("sh".to_owned());
    }
    words.extend_from_slice(asked);
    let name = field(&container, "Name").trim_start_matches('/');
    if terminal::stdin_is_terminal() {
        let what = if running { "files are in" } else { "is not running; a copy of its files is in" };
        printer::error(&format!("{name}: {what} {folder}"));
    }
    if running { super::run(context, &words) } else { beside(context, &mut client, &id, &words) }
}

/// Adds the flags that join a running container; answers where its files are.
fn join(container: &Value, id: &str, words: &mut Vec<String>) -> String {
    let mode = |name: &str| container.pointer(&format!("/HostConfig/{name}")).and_then(Value::as_str).unwrap_or_default();
    let joined = format!("container:{id}");
    let pid = if mode("PidMode") == "host" { "host" } else { &joined };
    words.extend(["--pid", pid, "--network", &joined, "--cap-add", "SYS_PTRACE", "--cap-add", "NET_ADMIN"].map(str::to_owned));
    // Only those that were made to be shared can be joined.
    if mode("IpcMode") == "host" {
        words.extend(["--ipc".to_owned(), "host".to_owned()]);
    } else if mode("IpcMode") == "shareable" {
        words.extend(["--ipc".to_owned(), joined.clone()]);
    }
    let number = container.pointer("/State/Pid").and_then(Value::as_i64).unwrap_or(1);
    match mode("PidMode") {
        "host" => format!("/proc/{number}/root"),
        other if other.starts_with("container:") => "/proc/PID/root, with the PID of one of its processes".to_owned(),
        _ => "/proc/1/root".to_owned(),
    }
}

/// Runs the tools with a copy of the files of a container that does not run.
fn beside(context: &mut Context, client: &mut Client, id: &str, words: &[String]) -> Outcome<u8> {
    let found = super::find("create").ok_or_else(|| Failure::new("create is missing"))?;
    // Removed by hand: the layers of one that the engine removes are not made to be mounted twice, for the copy and for the run.
    let words: Vec<String> = words.iter().skip(2).cloned().collect();
    let given = found.command.parse(&words)?;
    let made = super::run::create_container(context, client, &given, &["stdin", "stdout", "stderr"])?;
    let started = copy_root(client, id, &made).and_then(|()| super::run(context, &["start".to_owned(), "-ai".to_owned(), made.clone()]));
    client.call::<Value>("DELETE", &format!("/containers/{made}?force=1&v=1"), None)?;
    started
}

/// Copies all files of one container into `/container` of another.
fn copy_root(client: &mut Client, from: &str, to: &str) -> Outcome<()> {
    let root = CopyEnd { path: "/".to_owned(), exists: true, is_directory: true, rebase: None };
    let body =
        client.another().stream("GET", &format!("/containers/{from}/archive{}", query(&[("path", Some(root.path.as_str()))])), None)?;
    let mut body = std::io::BufReader::with_capacity(256 << 10, body);
    client.upload("PUT", &format!("/containers/{to}/archive?path=%2Fcontainer"), "application/x-tar", &mut body)?;
    Ok(())
}

/// The image with the host's busybox; it is made once.
fn tools(client: &mut Client) -> Outcome<String> {
    let program = BUSYBOX.iter().find_map(|path| read_static(path)).ok_or_else(|| {
        Failure::new("no static busybox on this machine: install it (Debian: busybox-static), or name an image with tools by --image")
    })?;
    let tag = format!("{:x}", checksum(&program));
    let image = format!("{IMAGE}:{tag}");
    if client.call::<Value>("GET", &format!("/images/{image}/json"), None).is_ok() {
        return Ok(image);
    }
    let mut archive = Cursor::new(archive(&program)?);
    let path = format!("/images/create{}", query(&[("fromSrc", Some("-")), ("repo", Some(IMAGE)), ("tag", Some(&tag))]));
    let answer = client.upload("POST", &path, "application/x-tar", &mut archive)?;
    progress::print(answer, true)?;
    Ok(image)
}

/// Tells one busybox from another. **Source:** Fowler, Noll, Vo, FNV-1a, 64 bits.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn read_static(path: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(BUSYBOX_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    is_static(&bytes)?.then_some(bytes)
}

/// Whether a program needs no loader. **Source:** elf(5), `PT_INTERP`.
fn is_static(elf: &[u8]) -> Option<bool> {
    let number = |at: usize, length: usize| -> Option<usize> {
        let bytes = elf.get(at..at.checked_add(length)?)?;
        let value = bytes.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        usize::try_from(value).ok()
    };
    if elf.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let kinds = (0..count).map(|index| number(table.checked_add(index.checked_mul(size)?)?, 4));
    Some(kinds.into_iter().all(|kind| kind.is_some_and(|kind| kind != 3)))
}

/// A root with busybox, a shell, and what tools look for.
fn archive(program: &[u8]) -> Outcome<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(u64::try_from(content.len()).unwrap_or(0));
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, path, content)
    };
    for folder in ["bin", "dev", "etc", "proc", "root", "sys", "container"] {
        add(folder, tar::EntryType::Directory, 0o755, b"")?;
    }
    add("tmp", tar::EntryType::Directory, 0o1777, b"")?;
    add("bin/busybox", tar::EntryType::Regular, 0o755, program)?;
    add("etc/passwd", tar::EntryType::Regular, 0o644, b"root:x:0:0:root:/root:/bin/sh\n")?;
    add("etc/group", tar::EntryType::Regular, 0o644, b"root:x:0:\n")?;
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_mode(0o777);
    link.set_size(0);
    tar.append_link(&mut link, "bin/sh", "busybox")?;
    Ok(tar.into_inner()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_loader_is_not_static() {
        let mut elf = vec![0; 120];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (elf[32], elf[54], elf[56]) = (64, 56, 1);
        elf[64] = 1;
        assert_eq!(is_static(&elf), Some(true));
        elf[64] = 3;
        assert_eq!(is_static(&elf), Some(false));
        assert_eq!(is_static(b"#!/bin/sh"), None);
    }
}
