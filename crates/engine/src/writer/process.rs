//! The first process and further ones.

use std::path::PathBuf;

use oci::runtime::{Capabilities, ConsoleSize, Process, Rlimit, User};

use super::Facts;
use crate::profile;
use crate::spec::{SecurityOption, Spec};
use crate::validate::full_name;
use crate::view::ExecSpec;

/// **Source:** moby, `system.DefaultPathEnvUnix`.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The capabilities that a container gets. **Source:** moby, `oci/caps/utils.go`, `TweakCapabilities`.
pub(crate) fn capabilities(spec: &Spec) -> Vec<String> {
    let host = &spec.host;
    let all = || oci::capability::NAMES.iter().map(|c| (*c).to_owned());
    if host.privileged {
        return all().collect();
    }
    let add: Vec<String> = host.cap_add.iter().map(|c| full_name(c)).collect();
    let drop: Vec<String> = host.cap_drop.iter().map(|c| full_name(c)).collect();
    let has = |list: &[String], name: &str| list.iter().any(|c| c == name);
    let base: Vec<String> = if has(&add, "ALL") {
        all().collect()
    } else if has(&drop, "ALL") {
        Vec::new()
    } else {
        profile::CAPABILITIES.iter().map(|c| (*c).to_owned()).collect()
    };
    let mut granted: Vec<String> = base.into_iter().filter(|c| !has(&drop, c)).collect();
    for name in add {
        if name != "ALL" && !has(&granted, &name) {
            granted.push(name);
        }
    }
    granted
}

fn capability_sets(granted: Vec<String>) -> Capabilities {
    Capabilities { bounding: granted.clone(), effective: granted.clone(), permitted: granted, ..Capabilities::default() }
}

fn set(env: &mut Vec<String>, entry: &str) {
    let name = entry.split('=').next().unwrap_or(entry);
    let same = |e: &String| e.split('=').next() == Some(name);
    let place = env.iter().position(same);
    match (place, entry.contains('=')) {
        (Some(index), true) => env[index] = entry.to_owned(),
        (None, true) => env.push(entry.to_owned()),
        (Some(index), false) => {
            env.remove(index);
        }
        (None, false) => {}
    }
}

fn environment(spec: &Spec, tty: bool, hostname: &str, home: &str) -> Vec<String> {
    let mut env = vec![PATH.to_owned()];
    if !hostname.is_empty() {
        env.push(format!("HOSTNAME={hostname}"));
    }
    if tty {
        env.push("TERM=xterm".to_owned());
    }
    for entry in &spec.config.env {
        set(&mut env, entry);
    }
    if !env.iter().any(|e| e.starts_with("HOME=")) {
        env.push(format!("HOME={home}"));
    }
    env
}

fn no_new_privileges(spec: &Spec) -> bool {
    let said = spec.host.security_options.iter().rev().find_map(|o| match o {
        SecurityOption::NoNewPrivileges(on) => Some(*on),
        SecurityOption::Seccomp(_)
        | SecurityOption::AppArmor(_)
        | SecurityOption::Label(_)
        | SecurityOption::SystemPathsUnconfined
        | SecurityOption::WritableCgroups(_) => None,
    });
    said.unwrap_or(false)
}

fn rlimits(spec: &Spec) -> Vec<Rlimit> {
    // −1 is RLIM_INFINITY, whose value is that of the two's complement.
    let value = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
    let limits = spec.host.resources.ulimits.iter();
    limits
        .map(|limit| Rlimit {
            kind: format!("RLIMIT_{}", limit.name.to_ascii_uppercase()),
            soft: value(limit.soft),
            hard: value(limit.hard),
        })
        .collect()
}

fn console_size([rows, columns]: [u16; 2]) -> Option<ConsoleSize> {
    (rows != 0 && columns != 0).then(|| ConsoleSize { height: rows.into(), width: columns.into() })
}

fn directory(path: &str) -> PathBuf {
    PathBuf::from(if path.is_empty() { "/" } else { path })
}

pub(super) fn process(spec: &Spec, facts: &Facts) -> Process {
    let config = &spec.config;
    Process {
        terminal: config.tty,
        console_size: console_size(spec.host.console_size).filter(|_| config.tty),
        user: facts.user.clone(),
        args: facts.command.clone(),
        env: environment(spec, config.tty, &facts.hostname, &facts.home),
        cwd: directory(&config.working_directory),
        capabilities: Some(capability_sets(capabilities(spec))),
        rlimits: rlimits(spec),
        no_new_privileges: no_new_privileges(spec),
        apparmor_profile: facts.apparmor.clone(),
        oom_score_adj: Some(spec.host.oom_score_adj),
        ..Process::default()
    }
}

/// The process of an exec.
pub(crate) fn exec_process(spec: &Spec, exec: &ExecSpec, user: (User, &str), hostname: &str) -> Process {
    let (user, home) = user;
    let mut env = environment(spec, exec.tty, hostname, home);
    for entry in &exec.env {
        set(&mut env, entry);
    }
    let granted = if exec.privileged { oci::capability::NAMES.iter().map(|c| (*c).to_owned()).collect() } else { capabilities(spec) };
    let own = [&exec.working_directory, &spec.config.working_directory];
    let cwd = own.into_iter().find(|d| !d.is_empty()).map_or("", String::as_str);
    Process {
        terminal: exec.tty,
        console_size: console_size(exec.console_size).filter(|_| exec.tty),
        user,
        args: exec.command.clone(),
        env,
        cwd: directory(cwd),
        capabilities: Some(capability_sets(granted)),
        rlimits: rlimits(spec),
        no_new_privileges: no_new_privileges(spec),
        oom_score_adj: Some(spec.host.oom_score_adj),
        ..Process::default()
    }
}
