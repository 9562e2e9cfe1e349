//! From nodes and a value to text. **Source:** Go, `text/template/exec.go`.

use super::functions;
use super::lex::Fault;
use super::parse::{Command, Node, Pipe, Term, What};
use super::value::{Value, Zero};

type Outcome<T> = Result<T, Fault>;

/// Applies nodes to a value.
pub(super) fn run(nodes: &[Node], value: &Value, mode: Mode) -> Outcome<String> {
    let mut scope = Scope { variables: vec![("$".to_owned(), value.clone())], text: String::new(), mode, steps: 0 };
    scope.list(nodes, value)?;
    Ok(scope.text)
}

/// What is made of missing keys and of functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A key that a map lacks is shown as `<no value>`.
    Lenient,
    /// A key that a map lacks is a fault.
    Strict,
    /// The head of a table: functions that change a text leave it as it is.
    Heading,
}

/// A template may not run for ever, nor print without bounds.
const STEPS_MAX: usize = 10_000_000;

/// Whether a loop goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Scope {
    variables: Vec<(String, Value)>,
    text: String,
    mode: Mode,
    steps: usize,
}

impl Scope {
    fn list(&mut self, nodes: &[Node], dot: &Value) -> Outcome<Flow> {
        let depth = self.variables.len();
        let mut flow = Flow::On;
        for node in nodes {
            flow = self.node(node, dot)?;
            if flow != Flow::On {
                break;
            }
        }
        self.variables.truncate(depth);
        Ok(flow)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Outcome<Flow> {
        self.steps = self.steps.saturating_add(1).saturating_add(self.text.len() >> 24);
        if self.steps > STEPS_MAX {
            return Err((0, "too many steps".to_owned()));
        }
        match node {
            Node::Text(text) => self.text.push_str(text),
            Node::Print(pipe) => {
                let value = self.pipe(pipe, dot)?;
                if pipe.names.is_empty() {
                    self.text.push_str(&value.show());
                }
            }
            Node::If(branches, otherwise) => {
                let depth = self.variables.len();
                for (test, body) in branches {
                    if self.pipe(test, dot)?.truth() {
                        let flow = self.list(body, dot);
                        self.variables.truncate(depth);
                        return flow;
                    }
                }
                let flow = self.list(otherwise, dot);
                self.variables.truncate(depth);
                return flow;
            }
            Node::With(branches, otherwise) => {
                let depth = self.variables.len();
                for (test, body) in branches {
                    let value = self.pipe(test, dot)?;
                    if value.truth() {
                        let flow = self.list(body, &value);
                        self.variables.truncate(depth);
                        return flow;
                    }
                }
                let flow = self.list(otherwise, dot);
                self.variables.truncate(depth);
                return flow;
            }
            Node::Range { over, body, otherwise } => return self.range(over, body, otherwise, dot),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::On)
    }

    fn range(&mut self, over: &Pipe, body: &[Node], otherwise: &[Node], dot: &Value) -> Outcome<Flow> {
        let depth = self.variables.len();
        let value = self.commands(over, dot)?;
        let pairs: Vec<(Value, Value)> = match value {
            Value::List(items) => (0i64..).map(Value::Int).zip(items).collect(),
            Value::Map(fields) => fields.into_iter().map(|(name, item)| (Value::Text(name), item)).collect(),
            Value::Int(count) => (0..count.clamp(0, 1_000_000)).map(|index| (Value::Int(index), Value::Int(index))).collect(),
            Value::Null(_) => Vec::new(),
            other @ (Value::Bool(_) | Value::Float(_) | Value::Text(_) | Value::Struct(..) | Value::Row(..)) => {
                let at = over.commands.first().map_or(0, |command| command.at);
                return Err(fault(at, over, &format!("range can't iterate over {}", other.show())));
            }
        };
        if pairs.is_empty() {
            return self.list(otherwise, dot);
        }
        for (index, item) in pairs {
            let values = match over.names.as_slice() {
                [] => Vec::new(),
                [value] => vec![(value, item.clone())],
                [key, value, ..] => vec![(key, index), (value, item.clone())],
            };
            for (name, value) in values {
                self.keep(name, value, over.assigns);
            }
            let flow = self.list(body, &item)?;
            if !over.assigns {
                self.variables.truncate(depth);
            }
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    /// Gives a variable its value; one that `assigns` exists already.
    fn keep(&mut self, name: &str, value: Value, assigns: bool) {
        match self.variables.iter_mut().rev().find(|(known, _)| assigns && known == name) {
            Some(variable) => variable.1 = value,
            None => self.variables.push((name.to_owned(), value)),
        }
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Outcome<Value> {
        let value = self.commands(pipe, dot)?;
        for name in &pipe.names {
            self.keep(name, value.clone(), pipe.assigns);
        }
        Ok(value)
    }

    fn commands(&mut self, pipe: &Pipe, dot: &Value) -> Outcome<Value> {
        let mut passed = None;
        for command in &pipe.commands {
            passed = Some(self.command(command, passed, dot)?);
        }
        Ok(passed.unwrap_or(Value::NIL))
    }

    fn command(&mut self, command: &Command, passed: Option<Value>, dot: &Value) -> Outcome<Value> {
        let Some((first, rest)) = command.words.split_first() else {
            return Ok(Value::NIL);
        };
        if let What::Function(name) = &first.what {
            if matches!(name.as_str(), "and" | "or") {
                return self.shortcut(command, passed, dot);
            }
            let mut args = rest.iter().map(|term| self.term(term, dot)).collect::<Outcome<Vec<_>>>()?;
            args.extend(passed);
            if self.mode == Mode::Heading && matches!(name.as_str(), "json" | "title" | "lower" | "upper" | "truncate") {
                return Ok(args.into_iter().next().unwrap_or(Value::NIL));
            }
            return functions::call(name, &args).map_err(|why| fault(command.at, command, &why));
        }
        if rest.is_empty() && passed.is_none() {
            return self.term(first, dot);
        }
        // The one method that lines of lists have: `.Label "name"`.
        if let (What::Field(path), [name]) = (&first.what, rest)
            && path.as_slice() == ["Label"]
        {
            let name = self.term(name, dot)?.show();
            let labels = field(dot, "Labels", first, self.mode)?.show();
            let found = labels.split(',').filter_map(|label| label.split_once('=')).find(|(key, _)| *key == name);
            return Ok(Value::Text(found.map_or("", |(_, value)| value).to_owned()));
        }
        match &first.what {
            What::Field(path) | What::Variable(_, path) | What::Chain(_, path) if !path.is_empty() => {
                let name = path.last().map_or("", String::as_str);
                self.term(first, dot)?;
                Err(fault(first.at, first, &format!("{name} has arguments but cannot be invoked as function")))
            }
            _ => Err(fault(first.at, first, &format!("can't give argument to non-function {first}"))),
        }
    }

    /// `and` and `or` look no further than they must.
    fn shortcut(&mut self, command: &Command, passed: Option<Value>, dot: &Value) -> Outcome<Value> {
        let name = command.words.first().map(Term::to_string).unwrap_or_default();
        let mut last = None;
        for term in command.words.iter().skip(1) {
            let value = self.term(term, dot)?;
            let decided = value.truth() == (name == "or");
            last = Some(value);
            if decided {
                return Ok(last.unwrap_or(Value::NIL));
            }
        }
        passed.or(last).ok_or_else(|| fault(command.at, command, &format!("wrong number of args for {name}: want at least 1 got 0")))
    }

    fn term(&mut self, term: &Term, dot: &Value) -> Outcome<Value> {
        let walk = |start: Value, path: &[String], mode: Mode| path.iter().try_fold(start, |value, name| field(&value, name, term, mode));
        match &term.what {
            What::Dot => Ok(dot.clone()),
            What::Nil => Err(fault(term.at, term, "nil is not a command")),
            What::Literal(value, _) => Ok(value.clone()),
            What::Field(path) => walk(dot.clone(), path, self.mode),
            What::Variable(name, path) => {
                let value = self.variables.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
                walk(value.ok_or_else(|| fault(term.at, term, &format!("undefined variable: {name}")))?, path, self.mode)
            }
            What::Function(name) => functions::call(name, &[]).map_err(|why| fault(term.at, term, &why)),
            What::Pipe(pipe) => self.pipe(pipe, dot),
            What::Chain(pipe, path) => {
                let value = self.pipe(pipe, dot)?;
                walk(value, path, self.mode)
            }
        }
    }
}

/// Where it happened, in Go's words.
fn fault(at: usize, node: &dyn std::fmt::Display, why: &str) -> Fault {
    (at, format!("executing {{NAME}} at <{node}>: {why}"))
}

fn field(value: &Value, name: &str, term: &Term, mode: Mode) -> Outcome<Value> {
    let wrong = |why: String| Err(fault(term.at, term, &why));
    match value {
        Value::Map(fields) => match fields.get(name) {
            Some(value) => Ok(value.clone()),
            None if mode == Mode::Strict => wrong(format!("map has no entry for key {name:?}")),
            None => Ok(Value::Null(Zero::Missing)),
        },
        Value::Struct(kind, fields) => match Value::named(fields, name) {
            Some(value) => Ok(value.clone()),
            None if !kind.is_empty() => wrong(format!("can't evaluate field {name} in type {kind}")),
            None => Value::optional(fields, name).map_or_else(|| wrong(format!("map has no entry for key {name:?}")), Ok),
        },
        Value::Row(kind, fields) => match fields.get(name) {
            Some(value) => Ok(value.clone()),
            None => wrong(format!("can't evaluate field {name} in type {kind}")),
        },
        Value::Null(Zero::Pointer) => wrong(format!("nil pointer evaluating interface {{}}.{name}")),
        Value::Null(_) if mode == Mode::Strict => wrong(format!("nil data; no entry for key {name:?}")),
        Value::Null(_) => Ok(Value::Null(Zero::Missing)),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) => {
            wrong(format!("can't evaluate field {name} in type interface {{}}"))
        }
    }
}
