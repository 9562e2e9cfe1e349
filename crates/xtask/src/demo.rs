//! The main job, for a person to watch: a real web server from Debian's packages in a container.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use testkit::daemon::{Daemon, Network};

use crate::{call, release, setup, workspace};

/// Port on the host that the demo publishes.
const PORT: u16 = 18080;

pub(crate) fn run() -> Result<()> {
    let mut steps = Steps::default();
    steps.step("install what is needed", setup::run)?;
    let teu = steps.step("build teu", release)?;
    let archive = steps.step("make a Debian image with nginx (kept for the next time)", debian)?;
    let daemon = steps.step("start an engine of its own, beside whatever runs here", || Daemon::start(&teu, Network::Host))?;
    steps.step("import the image", || {
        daemon.ok(["import", "-c", r#"CMD ["nginx","-g","daemon off;"]"#, "-c", "EXPOSE 80", &archive.to_string_lossy(), "nginx:demo"])
    })?;
    let publish = format!("127.0.0.1:{PORT}:80");
    steps.step("run nginx in the background with a published port", || {
        shown(&daemon, &["run", "-d", "--name", "web", "--restart", "on-failure:3", "-m", "128m", "-p", &publish, "nginx:demo"])
    })?;
    steps.step("fetch its page from the host", || page(PORT))?;
    steps.step("look at it", || shown(&daemon, &["ps"]))?;
    steps.step("run a command inside", || shown(&daemon, &["exec", "web", "nginx", "-v"]))?;
    steps.step("read its log", || shown(&daemon, &["logs", "web"]))?;
    steps.step("run a throw-away container", || shown(&daemon, &["run", "--rm", "nginx:demo", "uname", "-sr"]))?;
    steps.step("stop and remove it", || shown(&daemon, &["rm", "-f", "web"]))?;
    steps.step("stop the engine and clean up", || {
        drop(daemon);
        Ok(())
    })?;
    println!("\n{}", steps.table);
    println!("To go on by hand: {} run --rm -it IMAGE sh", teu.display());
    Ok(())
}

/// Times each step and says in plain words what it does.
#[derive(Default)]
struct Steps {
    table: String,
}

impl Steps {
    fn step<T>(&mut self, what: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("==> {what}");
        let begin = Instant::now();
        let result = act().with_context(|| format!("cannot {what}"))?;
        let took = begin.elapsed();
        let text = if took.as_secs() > 9 { format!("{:.1} s", took.as_secs_f64()) } else { format!("{:.1} ms", took.as_secs_f64() * 1e3) };
        writeln!(self.table, "{text:>12}  {what}")?;
        Ok(result)
    }
}

/// Runs our CLI as a person would and shows what it prints.
fn shown(daemon: &Daemon, args: &[&str]) -> Result<()> {
    println!("$ teu {}", args.join(" "));
    call(daemon.command().args(args))
}

/// Fetches the page as soon as the server listens; curl itself tries again while the port refuses.
fn page(port: u16) -> Result<()> {
    let url = format!("http://127.0.0.1:{port}/");
    let mut curl = Command::new("curl");
    curl.args(["-fsS", "--retry", "50", "--retry-delay", "0", "--retry-max-time", "20", "--retry-all-errors", "--max-time", "5", &url]);
    let output = curl.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "no page: {}", String::from_utf8_lossy(&output.stderr));
    ensure!(text.contains("Welcome to nginx"), "unexpected page: {text}");
    let title = text.lines().find(|line| line.contains("<title>")).unwrap_or_default();
    println!("{url} answers: {}", title.trim());
    Ok(())
}

/// A Debian base system with nginx, its logs on standard output, as a tar archive.
fn debian() -> Result<PathBuf> {
    let folder = workspace().join("target/demo");
    let archive = folder.join("debian-nginx.tar");
    if archive.exists() {
        return Ok(archive);
    }
    std::fs::create_dir_all(&folder)?;
    let part = folder.join("debian-nginx.part.tar");
    let hook = "chroot \"$1\" sh -c 'ln -sf /dev/stdout /var/log/nginx/access.log; ln -sf /dev/stderr /var/log/nginx/error.log; rm -rf /var/lib/apt/lists/* /var/cache/apt/*'";
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=minbase", "--include=nginx-light", "--customize-hook", hook, "bookworm"]).arg(&part);
    call(&mut command)?;
    std::fs::rename(&part, &archive)?;
    Ok(archive)
}
