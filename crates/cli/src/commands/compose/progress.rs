//! What happens to the parts of a project: lines that change on a terminal, plain lines elsewhere, JSON or nothing.
//!
//! **Source:** docker/compose 5.6.1, its output with `--progress`.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use compose::desired::Condition;
use compose::execute::{Report, StepError};
use compose::plan::Action;
use serde_json::json;

use crate::{printer, terminal};

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Lines,
    Screen,
    Json,
    Quiet,
}

/// How a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Working,
    Done,
    Error,
}

#[derive(Debug)]
struct Line {
    subject: String,
    text: String,
    status: Status,
    since: Instant,
    seconds: f64,
}

#[derive(Debug, Default)]
struct Screen {
    lines: Vec<Line>,
    /// Lines on the terminal that the next drawing replaces.
    drawn: usize,
}

/// Shows progress on standard error.
#[derive(Debug)]
pub(super) struct Progress {
    style: Style,
    colours: bool,
    screen: Mutex<Screen>,
}

impl Progress {
    /// `mode` is what `--progress` says.
    pub(super) fn new(mode: Option<&str>, no_ansi: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal.is_empty() || terminal == "dumb");
        let screen = printer::stderr_is_terminal() && !no_ansi && !dumb;
        let style = match mode {
            Some("plain") => Style::Lines,
            Some("json") => Style::Json,
            Some("quiet") => Style::Quiet,
            Some("tty") => Style::Screen,
            _ if screen => Style::Screen,
            _ => Style::Lines,
        };
        let colours = !no_ansi && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { style, colours, screen: Mutex::default() }
    }

    /// A progress that shows nothing but failures.
    pub(super) fn quiet() -> Self {
        Self { style: Style::Quiet, colours: false, screen: Mutex::default() }
    }

    /// Says that a part works or is done.
    pub(super) fn tell(&self, subject: &str, text: &str, done: bool) {
        self.event(subject, text, if done { Status::Done } else { Status::Working });
    }

    /// Says what is wrong with a part.
    pub(super) fn error(&self, subject: &str, text: &str) {
        self.event(subject, text, Status::Error);
    }

    /// A warning as Docker Compose writes it.
    pub(super) fn warning(&self, text: &str) {
        match self.style {
            Style::Quiet => {}
            Style::Json => printer::error(&json!({"level": "warning", "msg": text}).to_string()),
            Style::Lines | Style::Screen => {
                let mut screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
                // It stays above what changes.
                screen.drawn = 0;
                printer::error(&format!("WARN[0000] {text}"));
            }
        }
    }

    fn event(&self, subject: &str, text: &str, status: Status) {
        match self.style {
            Style::Quiet => {}
            Style::Lines => printer::error(&format!(" {subject} {text} ")),
            Style::Json => {
                let status = match status {
                    Status::Working => "Working",
                    Status::Done => "Done",
                    Status::Error => "Error",
                };
                printer::error(&json!({"id": subject, "status": status, "text": text}).to_string());
            }
            Style::Screen => {
                let mut screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
                match screen.lines.iter_mut().find(|line| line.subject == subject) {
                    Some(line) => {
                        (line.text, line.status) = (text.to_owned(), status);
                        line.seconds = line.since.elapsed().as_secs_f64();
                    }
                    None => screen.lines.push(Line {
                        subject: subject.to_owned(),
                        text: text.to_owned(),
                        status,
                        since: Instant::now(),
                        seconds: 0.0,
                    }),
                }
                self.draw(&mut screen);
            }
        }
    }

    fn draw(&self, screen: &mut Screen) {
        let (rows, columns) = terminal::size().unwrap_or((24, 80));
        let room = usize::from(rows).saturating_sub(2).max(1);
        let done = screen.lines.iter().filter(|line| line.status != Status::Working).count();
        let paint = |code: &str, text: &str| if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
        let mut text = String::from("\x1b[?25l");
        if screen.drawn > 0 {
            text.push_str(&format!("\x1b[{}A", screen.drawn));
        }
        text.push_str(&format!("\r\x1b[2K[+] {done}/{}\n", screen.lines.len()));
        // Those that work are the ones to see where there is too little room.
        let mut shown: Vec<&Line> = screen.lines.iter().collect();
        if shown.len() > room {
            shown.sort_by_key(|line| line.status == Status::Done);
            shown.truncate(room);
        }
        let width = shown.iter().map(|line| line.subject.chars().count()).max().unwrap_or_default();
        for line in &shown {
            let (mark, code) = match line.status {
                Status::Working => ("⠿", "33"),
                Status::Done => ("✔", "32"),
                Status::Error => ("✘", "31"),
            };
            let left = format!("{:width$} {:<12}", line.subject, line.text);
            let room = usize::from(columns).saturating_sub(12);
            let left: String = left.chars().take(room).collect();
            text.push_str(&format!("\x1b[2K {} {left} {}\n", paint(code, mark), paint("34", &format!("{:.1}s", line.seconds))));
        }
        text.push_str("\x1b[?25h");
        screen.drawn = shown.len() + 1;
        printer::raw_error(text.as_bytes());
    }

    /// What comes now is another thing.
    pub(super) fn finish(&self) {
        *self.screen.lock().unwrap_or_else(PoisonError::into_inner) = Screen::default();
    }
}

/// The words for a step under way and done.
fn words(action: &Action) -> Option<(&'static str, &'static str)> {
    match action {
        Action::CreateNetwork { .. } | Action::CreateVolume { .. } | Action::Create { replaces: None, .. } => Some(("Creating", "Created")),
        Action::Create { replaces: Some(_), .. } => Some(("Recreate", "Recreated")),
        Action::Start { .. } => Some(("Starting", "Started")),
        Action::Stop { .. } => Some(("Stopping", "Stopped")),
        Action::Remove { .. } | Action::RemoveNetwork { .. } | Action::RemoveVolume { .. } => Some(("Removing", "Removed")),
        Action::Wait { condition: Condition::Completed, .. } => Some(("Waiting", "Exited")),
        Action::Wait { .. } => Some(("Waiting", "Healthy")),
        Action::Rename { .. } | Action::Disconnect { .. } => None,
    }
}

impl Report for Progress {
    fn step(&self, subject: &str, action: &Action, done: bool) {
        if let Some((working, finished)) = words(action) {
            self.event(subject, if done { finished } else { working }, if done { Status::Done } else { Status::Working });
        }
    }

    fn failed(&self, subject: &str, error: &StepError) {
        let first = error.to_string();
        self.error(subject, &format!("Error {}", first.lines().next().unwrap_or_default()));
    }

    fn warn(&self, text: &str) {
        self.warning(text);
    }
}
