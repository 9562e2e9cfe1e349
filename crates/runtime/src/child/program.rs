//! The program: its environment and where it is.

use std::ffi::CString;
use std::io::{BufRead as _, BufReader, Read as _};

use oci::runtime::Process;
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, accessat, stat};
use rustix::io::Errno;

use super::{Failure, Outcome, Trying as _};

/// Where programs are looked for if the environment has no PATH. **Source:** execvp(3), glibc.
const PATH: &str = "/bin:/usr/bin";

/// The most of a container's /etc/passwd that is read.
const PASSWD_BYTES_MAX: u64 = 1 << 20;

/// The environment, with HOME of the user if none is given, as runc sets it.
pub(crate) fn environment(process: &Process) -> Outcome<Vec<String>> {
    let mut env = process.env.clone();
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={}", home(process.user.uid)));
    }
    Ok(env)
}

/// Home folder of a user by the container's own /etc/passwd; `/` if it has none.
fn home(uid: u32) -> String {
    let uid = uid.to_string();
    // Whatever the image has put there must not hold us up: neither a FIFO nor a list without end.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open("/etc/passwd", flags, Mode::empty()) else {
        return "/".into();
    };
    if !rustix::fs::fstat(&file).is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::RegularFile) {
        return "/".into();
    }
    let file = std::fs::File::from(file);
    let lines = BufReader::new(file.take(PASSWD_BYTES_MAX)).lines();
    for line in lines.map_while(Result::ok) {
        let fields: Vec<&str> = line.split(':').collect();
        if fields.len() > 5 && fields[2] == uid && !fields[5].is_empty() {
            return fields[5].to_owned();
        }
    }
    "/".into()
}

/// Finds the program inside the container, with the texts and kinds of errors that Docker's clients look for.
pub(crate) fn find(process: &Process) -> Outcome<CString> {
    let name = process.args.first().filter(|name| !name.is_empty()).ok_or_else(|| Failure("exec: \"\": no command specified".into()))?;
    if name.contains('/') {
        return check(name).map_err(|error| match error {
            Errno::NOENT => Failure(format!("exec: \"{name}\": stat {name}: no such file or directory")),
            Errno::ISDIR => Failure(format!("exec: \"{name}\": is a directory: permission denied")),
            Errno::ACCESS => Failure(format!("exec: \"{name}\": permission denied")),
            error => Failure(format!("exec: \"{name}\": {}", explain(&error.into()))),
        });
    }
    let path = process.env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(PATH);
    let mut denied = false;
    for folder in path.split(':') {
        let folder = if folder.is_empty() { "." } else { folder };
        match check(&format!("{folder}/{name}")) {
            Ok(found) => return Ok(found),
            Err(error) => denied |= error == Errno::ACCESS,
        }
    }
    let reason = if denied { "permission denied" } else { "executable file not found in $PATH" };
    Err(Failure(format!("exec: \"{name}\": {reason}")))
}

fn check(path: &str) -> rustix::io::Result<CString> {
    let found = CString::new(path).map_err(|_| Errno::INVAL)?;
    let stat = stat(&found)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    accessat(CWD, &found, Access::EXEC_OK, AtFlags::EACCESS)?;
    Ok(found)
}

/// The kernel's reason in the words of Docker's clients, lower-case as Go prints it.
pub(crate) fn explain(error: &std::io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) => "no such file or directory".into(),
        Some(Errno::ACCESS) => "permission denied".into(),
        Some(Errno::NOEXEC) => "exec format error".into(),
        Some(Errno::TOOBIG) => "argument list too long".into(),
        _ => error.to_string(),
    }
}

/// Strings as exec takes them.
pub(crate) fn strings(list: &[String]) -> Outcome<Vec<CString>> {
    list.iter().map(|item| CString::new(item.as_str()).trying(|| format!("{item:?}"))).collect()
}
