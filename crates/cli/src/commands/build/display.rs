//! How a build is shown: a list that is drawn again and again on a terminal, or a line for each thing that happens.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::{Failure, Outcome};
use crate::{printer, terminal};

/// How often a terminal is drawn anew.
const REFRESH: Duration = Duration::from_millis(100);
/// Lines of output that are shown below a running step.
const TAIL_LINES: usize = 6;
/// Lines of output that are kept for an error.
const KEPT_LINES: usize = 20;
/// Lines that wait to be shown.
const LINES_MAX: usize = 1024;

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Terminal,
    Plain,
    /// The engine's own lines.
    Raw,
    Quiet,
}

impl Style {
    /// From `--progress`, then `BUILDKIT_PROGRESS`.
    pub(super) fn new(quiet: bool, given: Option<&str>) -> Outcome<Self> {
        let variable = std::env::var("BUILDKIT_PROGRESS").ok().filter(|text| !text.is_empty());
        let terminal = printer::stderr_is_terminal();
        match given.or(variable.as_deref()).unwrap_or("auto") {
            _ if quiet => Ok(Self::Quiet),
            "auto" | "tty" if terminal => Ok(Self::Terminal),
            "tty" => Err(Failure::new("--progress tty needs a terminal; use plain")),
            "auto" | "plain" => Ok(Self::Plain),
            "rawjson" => Ok(Self::Raw),
            "quiet" | "none" => Ok(Self::Quiet),
            other => Err(Failure::new(format!("invalid progress mode {other}; use auto, tty, plain, rawjson or quiet"))),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Cached,
    Done,
    Failed,
}

/// A step as it is shown.
struct Step {
    name: String,
    since: Instant,
    /// Seconds that it took.
    took: f64,
    state: State,
    /// Output that has no line's end yet.
    rest: String,
    /// The last lines of output, each with its time.
    tail: Vec<String>,
}

/// What came of a build.
pub(super) struct Result {
    pub(super) image: String,
}

/// Shows what the engine does.
pub(super) struct Display {
    style: Style,
    colours: bool,
    /// What stands before each line.
    name: String,
    since: Instant,
    steps: BTreeMap<u64, Step>,
    failed: Option<u64>,
    /// Lines that are on the terminal now.
    drawn: usize,
    findings: Vec<String>,
    excerpt: String,
    image: String,
    error: Option<String>,
}

impl Display {
    pub(super) fn new(style: Style, name: Option<&str>) -> Self {
        let colours = printer::stderr_is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            style,
            colours,
            name: name.map(|name| format!("{name} ")).unwrap_or_default(),
            since: Instant::now(),
            steps: BTreeMap::new(),
            failed: None,
            drawn: 0,
            findings: Vec::new(),
            excerpt: String::new(),
            image: String::new(),
            error: None,
        }
    }

    /// Shows all; answers what came of it.
    pub(super) fn show(mut self, answer: impl Read + Send) -> Outcome<Result> {
        let cut = std::thread::scope(|scope| {
            let (sender, lines) = sync_channel(LINES_MAX);
            scope.spawn(move || {
                for line in BufReader::new(answer).lines() {
                    let ended = line.is_err();
                    if sender.send(line).is_err() || ended {
                        return;
                    }
                }
            });
            let mut due = Instant::now();
            loop {
                let line = match self.style {
                    Style::Terminal => lines.recv_timeout(due.saturating_duration_since(Instant::now())),
                    Style::Plain | Style::Raw | Style::Quiet => lines.recv().map_err(|_| RecvTimeoutError::Disconnected),
                };
                match line {
                    Ok(Ok(line)) => self.line(&line),
                    Ok(Err(error)) => return Some(error),
                    Err(RecvTimeoutError::Disconnected) => return None,
                    Err(RecvTimeoutError::Timeout) => {}
                }
                if self.style == Style::Terminal && Instant::now() >= due {
                    self.draw(false);
                    due = Instant::now() + REFRESH;
                }
            }
        });
        if self.style == Style::Terminal {
            self.draw(true);
        }
        self.end(cut)
    }

    fn end(mut self, cut: Option<std::io::Error>) -> Outcome<Result> {
        if let Some(message) = self.error.take() {
            return Err(self.failure(&message));
        }
        if self.image.is_empty() {
            let cause = cut.map(|error| format!(": {error}")).unwrap_or_default();
            return Err(Failure::new(format!("the engine has ended in the middle of the build{cause}")));
        }
        if !self.findings.is_empty() && matches!(self.style, Style::Terminal | Style::Plain) {
            let count = self.findings.len();
            let plural = if count == 1 { "warning" } else { "warnings" };
            let title = format!("\n {count} {plural} found (use --check to see more of them):");
            printer::error(&self.coloured("33", &title));
            for finding in &self.findings {
                printer::error(&self.coloured("33", &format!(" - {finding}")));
            }
        }
        Ok(Result { image: self.image })
    }

    /// The error with the last lines of the step and those of the Dockerfile.
    fn failure(&self, message: &str) -> Failure {
        let mut text = String::new();
        if let Some(step) = self.failed.and_then(|vertex| self.steps.get(&vertex)).filter(|step| !step.tail.is_empty())
            && self.style != Style::Raw
        {
            text.push_str(&format!("------\n > {}:\n{}\n------\n", first_line(&step.name), step.tail.join("\n")));
        }
        Failure::new(format!("{text}{}ERROR: {message}", self.excerpt))
    }

    fn line(&mut self, line: &str) {
        let Ok(value) = serde_json::from_str::<Value>(line) else { return };
        if self.style == Style::Raw {
            printer::error(line.trim_end());
        }
        if let Some(message) = value.pointer("/errorDetail/message").and_then(Value::as_str) {
            self.error = Some(message.to_owned());
        }
        if let Some(id) = value.pointer("/aux/ID").and_then(Value::as_str) {
            id.clone_into(&mut self.image);
        }
        // An engine that is not ours tells its steps as texts.
        if let (Some(text), Style::Plain | Style::Terminal) = (value.get("stream").and_then(Value::as_str), self.style) {
            printer::raw_error(text.as_bytes());
        }
        if let Some(update) = value.get("teu") {
            self.update(update);
        }
    }

    fn update(&mut self, update: &Value) {
        let vertex = update.get("vertex").and_then(Value::as_u64).unwrap_or_default();
        let text = update.get("text").and_then(Value::as_str).unwrap_or_default();
        let event = update.get("event").and_then(Value::as_str).unwrap_or_default();
        match event {
            "finding" => {
                let rule = update.get("rule").and_then(Value::as_str).unwrap_or_default();
                let line = update.get("line").and_then(Value::as_u64).unwrap_or_default();
                self.findings.push(format!("{rule}: {text} (line {line})"));
                return;
            }
            "excerpt" => return text.clone_into(&mut self.excerpt),
            "started" => {
                let step = Step {
                    name: text.to_owned(),
                    since: Instant::now(),
                    took: 0.0,
                    state: State::Running,
                    rest: String::new(),
                    tail: Vec::new(),
                };
                self.steps.insert(vertex, step);
                return self.say(vertex, "1", first_line(text));
            }
            _ => {}
        }
        let Some(step) = self.steps.get_mut(&vertex) else { return };
        let seconds = step.since.elapsed().as_secs_f64();
        step.rest.push_str(if event == "log" { text } else { "\n" });
        let mut lines = Vec::new();
        while let Some(end) = step.rest.find('\n') {
            let line: String = step.rest.drain(..=end).collect();
            // Of a line that was written over, the last state.
            let line = line.trim_end().rsplit('\r').next().unwrap_or_default().to_owned();
            if event == "log" || !line.is_empty() {
                lines.push(format!("{seconds:.3} {line}"));
            }
        }
        step.tail.extend(lines.iter().cloned());
        let surplus = step.tail.len().saturating_sub(KEPT_LINES);
        step.tail.drain(..surplus);
        let (state, style, word) = match event {
            "cached" => (State::Cached, "32", "CACHED".to_owned()),
            "done" => (State::Done, "32", format!("DONE {seconds:.1}s")),
            "failed" => (State::Failed, "31", format!("ERROR: {text}")),
            "warning" => (step.state, "33", format!("WARNING: {text}")),
            _ => (step.state, "", String::new()),
        };
        if step.state == State::Running && state != State::Running {
            step.took = seconds;
        }
        step.state = state;
        if state == State::Failed && self.failed.is_none() {
            self.failed = Some(vertex);
        }
        for line in lines {
            self.say(vertex, "", &line);
        }
        if !word.is_empty() {
            self.say(vertex, style, &word);
        }
    }

    /// Prints a line of a step; the style is that of a terminal's colours.
    fn say(&self, vertex: u64, style: &str, text: &str) {
        if self.style == Style::Plain {
            printer::error(&format!("#{}{vertex} {}", self.name, self.coloured(style, text)));
        }
    }

    fn coloured(&self, style: &str, text: &str) -> String {
        match self.colours && !style.is_empty() {
            true => format!("\x1b[{style}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    /// Draws the list over the last one; `all` leaves nothing out and is the last.
    fn draw(&mut self, all: bool) {
        let (rows, columns) = terminal::size().map_or((24, 80), |(rows, columns)| (usize::from(rows), usize::from(columns)));
        let mut lines = self.list(all, columns);
        if !all && lines.len() + 1 > rows {
            // The newest are at the end; the title stays.
            lines.drain(1..=lines.len() + 1 - rows);
        }
        let mut out = String::new();
        if self.drawn > 0 {
            out.push_str(&format!("\x1b[{}A", self.drawn));
        }
        out.push('\r');
        for line in &lines {
            out.push_str(&format!("{line}\x1b[K\n"));
        }
        out.push_str("\x1b[J");
        self.drawn = lines.len();
        printer::raw_error(out.as_bytes());
    }

    fn list(&self, all: bool, columns: usize) -> Vec<String> {
        let done = self.steps.values().filter(|step| step.state != State::Running).count();
        let finished = if all && self.error.is_none() { " FINISHED" } else { "" };
        let title = format!("[+] Building {:.1}s ({done}/{}){finished}", self.since.elapsed().as_secs_f64(), self.steps.len());
        let mut lines = vec![title];
        for step in self.steps.values() {
            let (style, mark, seconds) = match step.state {
                State::Running => ("", "", step.since.elapsed().as_secs_f64()),
                State::Cached => ("34", "CACHED ", 0.0),
                State::Done => ("34", "", step.took),
                State::Failed => ("31", "ERROR ", step.took),
            };
            let time = format!("{seconds:.1}s");
            let width = columns.saturating_sub(time.len() + 2);
            let text: String = format!(" => {mark}{}", first_line(&step.name)).chars().take(width).collect();
            lines.push(self.coloured(style, &format!("{text:<width$} {time}")));
            if step.state == State::Running {
                let from = step.tail.len().saturating_sub(TAIL_LINES);
                for line in &step.tail[from..] {
                    // A command may write what moves the cursor.
                    let plain = line.chars().filter(|c| !c.is_control());
                    let text: String = " => => # ".chars().chain(plain).take(columns.saturating_sub(1)).collect();
                    lines.push(self.coloured("2", &text));
                }
            }
        }
        lines
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
