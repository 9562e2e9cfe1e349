//! From nodes and a value to text.

use std::cmp::Ordering;
use std::fmt::Write as _;

use serde_json::Value;

use super::parse::{Node, Pipe, Term};

type Outcome<T> = Result<T, String>;

pub(super) fn run(nodes: &[Node], value: &Value) -> Outcome<String> {
    let mut scope = Scope { variables: vec![(String::new(), value.clone())], text: String::new() };
    scope.list(nodes, value)?;
    Ok(scope.text)
}

struct Scope {
    variables: Vec<(String, Value)>,
    text: String,
}

/// Whether a value counts as true: neither zero nor empty.
fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// As Go's `%v`.
fn show(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".into(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(show_inner).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            format!("map[{}]", fields.iter().map(|(name, value)| format!("{name}:{}", show_inner(value))).collect::<Vec<_>>().join(" "))
        }
    }
}

fn show_inner(value: &Value) -> String {
    if value.is_null() { "<nil>".into() } else { show(value) }
}

fn field(value: &Value, fields: &[String]) -> Outcome<Value> {
    let mut value = value;
    for name in fields {
        value = match value {
            Value::Object(map) => map.get(name).unwrap_or(&Value::Null),
            Value::Null => &Value::Null,
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Err(format!("can't evaluate field {name} in {}", show(value)));
            }
        };
    }
    Ok(value.clone())
}

impl Scope {
    fn list(&mut self, nodes: &[Node], dot: &Value) -> Outcome<()> {
        let depth = self.variables.len();
        for node in nodes {
            self.node(node, dot)?;
        }
        self.variables.truncate(depth);
        Ok(())
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Outcome<()> {
        match node {
            Node::Text(text) => self.text.push_str(text),
            Node::Print(pipe) => {
                let value = self.pipe(pipe, dot)?;
                self.text.push_str(&show(&value));
            }
            Node::Set(name, pipe) => {
                let value = self.pipe(pipe, dot)?;
                self.variables.push((name.clone(), value));
            }
            Node::If(branches, otherwise) => {
                for (test, body) in branches {
                    if truth(&self.pipe(test, dot)?) {
                        return self.list(body, dot);
                    }
                }
                self.list(otherwise, dot)?;
            }
            Node::With(pipe, body, otherwise) => {
                let value = self.pipe(pipe, dot)?;
                if truth(&value) { self.list(body, &value)? } else { self.list(otherwise, dot)? }
            }
            Node::Range { key, value, over, body, otherwise } => {
                let pairs: Vec<(Value, Value)> = match self.pipe(over, dot)? {
                    Value::Array(items) => items.into_iter().enumerate().map(|(index, item)| (index.into(), item)).collect(),
                    Value::Object(fields) => fields.into_iter().map(|(name, item)| (name.into(), item)).collect(),
                    Value::Null => Vec::new(),
                    other @ (Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                        return Err(format!("range can't iterate over {}", show(&other)));
                    }
                };
                if pairs.is_empty() {
                    return self.list(otherwise, dot);
                }
                for (index, item) in pairs {
                    let depth = self.variables.len();
                    self.variables.extend(key.clone().map(|name| (name, index)));
                    self.variables.extend(value.clone().map(|name| (name, item.clone())));
                    self.list(body, &item)?;
                    self.variables.truncate(depth);
                }
            }
        }
        Ok(())
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Outcome<Value> {
        let mut passed = None;
        for command in pipe {
            passed = Some(self.command(command, passed, dot)?);
        }
        Ok(passed.unwrap_or(Value::Null))
    }

    fn command(&mut self, command: &[Term], passed: Option<Value>, dot: &Value) -> Outcome<Value> {
        if let [Term::Function(name), rest @ ..] = command {
            let mut args = rest.iter().map(|term| self.term(term, dot)).collect::<Outcome<Vec<_>>>()?;
            args.extend(passed);
            return call(name, &args);
        }
        match command {
            [only] if passed.is_none() => self.term(only, dot),
            // The one method that rows have: `.Label "name"`.
            [Term::Field(path), name] if path.as_slice() == ["Label"] => {
                let name = show(&self.term(name, dot)?);
                let labels = dot.get("Labels").and_then(Value::as_str).unwrap_or_default();
                let mut labels = labels.split(',').filter_map(|label| label.split_once('='));
                Ok(labels.find(|(key, _)| *key == name).map_or("", |(_, value)| value).into())
            }
            [first, ..] => Err(format!("can't give argument to non-function {first:?}")),
            [] => Err("missing value for command".into()),
        }
    }

    fn term(&mut self, term: &Term, dot: &Value) -> Outcome<Value> {
        match term {
            Term::Literal(value) => Ok(value.clone()),
            Term::Field(fields) => field(dot, fields),
            Term::Variable(name, fields) => {
                let value = self
                    .variables
                    .iter()
                    .rev()
                    .find(|(known, _)| known == name)
                    .ok_or_else(|| format!("undefined variable \"${name}\""))?;
                field(&value.1, fields)
            }
            Term::Function(name) => call(name, &[]),
            Term::Pipe(pipe, fields) => {
                let value = self.pipe(pipe, dot)?;
                field(&value, fields)
            }
        }
    }
}

fn call(name: &str, args: &[Value]) -> Outcome<Value> {
    let arg = |index: usize| args.get(index).ok_or_else(|| format!("wrong number of args for {name}: got {}", args.len()));
    let text = |index: usize| arg(index).map(|value| if value.is_null() { String::new() } else { show(value) });
    Ok(match name {
        "json" => crate::json::line(arg(0)?).into(),
        "println" => (args.iter().map(show).collect::<Vec<_>>().join(" ") + "\n").into(),
        "print" => args.iter().map(show).collect::<String>().into(),
        "printf" => format(&text(0)?, &args[1..])?.into(),
        "upper" => text(0)?.to_uppercase().into(),
        "lower" => text(0)?.to_lowercase().into(),
        "title" => title(&text(0)?).into(),
        "trim" => text(0)?.trim().into(),
        "split" => text(0)?.split(text(1)?.as_str()).map(Value::from).collect::<Vec<_>>().into(),
        "join" => {
            let items = arg(0)?.as_array().ok_or("join wants a list")?;
            items.iter().map(show).collect::<Vec<_>>().join(&text(1)?).into()
        }
        "pad" => {
            let blanks = |index: usize| {
                arg(index)
                    .map(|value| " ".repeat(value.as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or_default().min(1000)))
            };
            format!("{}{}{}", blanks(1)?, text(0)?, blanks(2)?).into()
        }
        "truncate" => {
            let length = arg(1)?.as_u64().and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
            text(0)?.chars().take(length).collect::<String>().into()
        }
        "len" => match arg(0)? {
            Value::Array(items) => items.len().into(),
            Value::Object(fields) => fields.len().into(),
            Value::String(text) => text.len().into(),
            Value::Null => 0.into(),
            other @ (Value::Bool(_) | Value::Number(_)) => {
                return Err(format!("error calling len: len of {}", show(other)));
            }
        },
        "index" => args.iter().skip(1).try_fold(arg(0)?.clone(), index)?,
        "slice" => slice(args)?,
        "not" => (!truth(arg(0)?)).into(),
        "and" => args.iter().find(|value| !truth(value)).or(args.last()).ok_or("wrong number of args for and")?.clone(),
        "or" => args.iter().find(|value| truth(value)).or(args.last()).ok_or("wrong number of args for or")?.clone(),
        "eq" => args.get(1..).unwrap_or_default().iter().any(|value| compare(&args[0], value) == Some(Ordering::Equal)).into(),
        "ne" => (compare(arg(0)?, arg(1)?) != Some(Ordering::Equal)).into(),
        "lt" => (compare(arg(0)?, arg(1)?) == Some(Ordering::Less)).into(),
        "le" => matches!(compare(arg(0)?, arg(1)?), Some(Ordering::Less | Ordering::Equal)).into(),
        "gt" => (compare(arg(0)?, arg(1)?) == Some(Ordering::Greater)).into(),
        "ge" => matches!(compare(arg(0)?, arg(1)?), Some(Ordering::Greater | Ordering::Equal)).into(),
        _ => return Err(format!("function \"{name}\" not defined")),
    })
}

fn index(value: Value, key: &Value) -> Outcome<Value> {
    match (&value, key) {
        (Value::Object(fields), Value::String(name)) => Ok(fields.get(name).cloned().unwrap_or(Value::Null)),
        (Value::Array(items), Value::Number(number)) => {
            let item = number.as_u64().and_then(|index| usize::try_from(index).ok()).and_then(|index| items.get(index));
            item.cloned().ok_or_else(|| format!("error calling index: index out of range: {number}"))
        }
        (Value::Null, _) => Ok(Value::Null),
        _ => Err(format!("error calling index: can't index item of {}", show(&value))),
    }
}

fn slice(args: &[Value]) -> Outcome<Value> {
    let bound = |index: usize, default: usize| {
        args.get(index).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok()).unwrap_or(default)
    };
    let range = "error calling slice: index out of range";
    match args.first() {
        Some(Value::String(text)) => Ok(text.get(bound(1, 0)..bound(2, text.len())).ok_or(range)?.into()),
        Some(Value::Array(items)) => Ok(items.get(bound(1, 0)..bound(2, items.len())).ok_or(range)?.to_vec().into()),
        _ => Err("error calling slice: can't slice item".into()),
    }
}

fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        _ => None,
    }
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .map(|c| {
            let c = if start { c.to_uppercase().next().unwrap_or(c) } else { c };
            start = c.is_whitespace();
            c
        })
        .collect()
}

/// Go's `printf` with the verbs people use.
fn format(text: &str, args: &[Value]) -> Outcome<String> {
    let mut result = String::new();
    let mut args = args.iter();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            result.push(c);
            continue;
        }
        let mut spec = String::new();
        while let Some(c) = chars.next_if(|c| c.is_ascii_digit() || matches!(c, '-' | '.' | '+')) {
            spec.push(c);
        }
        let verb = chars.next().ok_or("bad format: ends with %")?;
        if verb == '%' {
            result.push('%');
            continue;
        }
        let value = args.next().ok_or("bad format: missing argument")?;
        let shown = match verb {
            'q' => format!("{:?}", show(value)),
            'x' => value.as_u64().map_or_else(|| show(value), |number| format!("{number:x}")),
            'f' => {
                let digits = spec.split_once('.').and_then(|(_, digits)| digits.parse().ok()).unwrap_or(6usize).min(20);
                format!("{:.digits$}", value.as_f64().unwrap_or_default())
            }
            _ => show(value),
        };
        let left = spec.starts_with('-');
        let width: usize = spec.trim_start_matches('-').split('.').next().unwrap_or_default().parse().unwrap_or_default();
        let width = width.min(1000);
        let _infallible = if left { write!(result, "{shown:<width$}") } else { write!(result, "{shown:>width$}") };
    }
    Ok(result)
}
