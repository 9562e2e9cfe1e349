//! The main job, for a person to watch: WordPress behind TLS with its database, each part made from Debian's packages in a
//! container of its own, from nothing to its first post.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use testkit::daemon::{Daemon, Network};
use testkit::debian;

use crate::{call, release, setup, workspace};

/// Port on the host where the site answers.
const PORT: u16 = 18443;

/// Runs it; with `stay` the site is left up until a person has seen enough.
pub(crate) fn run(stay: bool) -> Result<()> {
    let mut steps = Steps::default();
    steps.step("install what is needed", setup::run)?;
    let teu = steps.step("build teu", release)?;
    let base = steps.step("make a Debian image (kept for the next time)", || debian::archive(&workspace().join("target/demo")))?;
    let daemon = steps.step("start an engine of its own, beside whatever runs here", || Daemon::start(&teu, Network::Host))?;
    let stack = Stack { daemon: &daemon, folder: workspace().join("examples/inception"), site: format!("https://localhost:{PORT}") };
    steps.step("import the Debian image", || daemon.ok(["import", &base.to_string_lossy(), debian::IMAGE]))?;
    steps.step("make the passwords that are not there yet", || call(&mut Command::new(stack.folder.join("make-secrets"))))?;
    steps.step("build the images of NGINX, WordPress and MariaDB", || stack.compose(&["build", "--quiet"]))?;
    steps.step("bring all up and wait until they are healthy", || stack.compose(&["up", "--build", "--quiet-build", "--wait"]))?;
    steps.step("read the first post over HTTPS", || stack.first_post())?;
    steps.step("see that nothing older than TLS 1.2 is spoken", || stack.refuses_old_tls())?;
    steps.step("log in as the owner", || stack.log_in())?;
    steps.step("look at it", || stack.compose(&["ps"]))?;
    steps.step("end the database as a crash would, and wait until all is well again", || {
        stack.compose(&["exec", "-T", "mariadb", "sh", "-c", "kill -QUIT 1"])?;
        stack.compose(&["up", "--wait"])?;
        stack.first_post()
    })?;
    steps.step("bring up what is up already", || stack.compose(&["up", "--detach"]))?;
    if stay {
        println!("\n{}", steps.table);
        stack.wait_for_a_person()?;
    }
    steps.step("take it down, volumes too", || stack.compose(&["down", "--volumes"]))?;
    steps.step("stop the engine and clean up", || {
        drop(daemon);
        Ok(())
    })?;
    println!("\n{}", steps.table);
    println!("To have it to yourself: `cargo xtask demo stay` leaves it up until you press Enter.");
    println!("To go on by hand, as root: cd examples/inception && ./make-secrets && {} compose up --build --wait", teu.display());
    println!("And to stop that: {} compose down --volumes", teu.display());
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

/// The stack, as a person at a terminal meets it.
struct Stack<'a> {
    daemon: &'a Daemon,
    folder: PathBuf,
    site: String,
}

impl Stack<'_> {
    /// Runs `teu compose` in the stack's folder and shows what it prints.
    fn compose(&self, args: &[&str]) -> Result<()> {
        println!("$ teu compose {}", args.join(" "));
        let mut command = self.daemon.command();
        command.arg("compose").args(args).current_dir(&self.folder);
        call(command.env("HTTPS_PORT", PORT.to_string()).env("SITE_URL", &self.site))
    }

    /// Fetches a page; the certificate is the stack's own, so nobody vouches for it.
    fn curl(&self, args: &[&str], page: &str) -> Result<std::process::Output> {
        let mut command = Command::new("curl");
        command.args(["-ksS", "--max-time", "20"]).args(args).arg(format!("{}{page}", self.site));
        Ok(command.stdin(Stdio::null()).output()?)
    }

    fn first_post(&self) -> Result<()> {
        let output = self.curl(&["--fail", "--location"], "/?p=1")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "no page: {}", String::from_utf8_lossy(&output.stderr));
        let title = text.lines().find(|line| line.contains("<title>")).unwrap_or_default();
        ensure!(title.contains("Hello world!"), "unexpected page: {text}");
        println!("{}/?p=1 answers: {}", self.site, title.trim());
        Ok(())
    }

    fn refuses_old_tls(&self) -> Result<()> {
        let old = self.curl(&["--tls-max", "1.1"], "/")?;
        ensure!(!old.status.success(), "TLS 1.1 is spoken");
        for version in ["1.2", "1.3"] {
            let flag = format!("--tlsv{version}");
            let output = self.curl(&["--fail", "--output", "/dev/null", &flag, "--tls-max", version], "/")?;
            ensure!(output.status.success(), "TLS {version} is not spoken: {}", String::from_utf8_lossy(&output.stderr));
        }
        println!("TLS 1.1: refused, TLS 1.2 and 1.3: spoken");
        Ok(())
    }

    fn log_in(&self) -> Result<()> {
        let secret = std::fs::read_to_string(self.folder.join("secrets/owner_password"))?;
        let cookies = self.daemon.dir().join("cookies");
        let jar = cookies.to_string_lossy().into_owned();
        self.curl(&["--fail", "--output", "/dev/null", "--cookie-jar", &jar], "/wp-login.php")?;
        let words = format!("log={}&pwd={}&testcookie=1&wp-submit=Log+In", owner(&self.folder)?, secret.trim());
        let flags = ["--location", "--cookie", &jar, "--cookie-jar", &jar, "--data", &words];
        let output = self.curl(&flags, "/wp-login.php")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let title = text.lines().find(|line| line.contains("<title>")).unwrap_or_default();
        ensure!(title.contains("Dashboard"), "no dashboard: {text}");
        println!("{}", title.trim());
        Ok(())
    }

    fn wait_for_a_person(&self) -> Result<()> {
        println!("The site is at {} (its certificate is its own: the browser will ask).", self.site);
        println!("The owner is `{}`, the password is in {}/secrets/owner_password.", owner(&self.folder)?, self.folder.display());
        println!("From another terminal: DOCKER_HOST={} docker ps", self.daemon.host());
        println!("Press Enter to stop it and clean up.");
        std::io::stdin().read_line(&mut String::new())?;
        Ok(())
    }
}

/// The owner's name, as `.env` has it.
fn owner(folder: &Path) -> Result<String> {
    let text = std::fs::read_to_string(folder.join(".env"))?;
    let owner = text.lines().find_map(|line| line.strip_prefix("OWNER="));
    Ok(owner.context("`.env` names no OWNER")?.to_owned())
}
