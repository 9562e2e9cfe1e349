//! The functions of templates. **Source:** Go, `text/template/funcs.go`; docker/cli, `templates/templates.go`.

use std::cmp::Ordering;

use super::printf;
use super::value::{Value, Zero};

type Outcome<T> = Result<T, String>;

/// Fewest and most arguments of each function.
const COUNTS: [(&str, usize, usize); 25] = [
    ("call", 1, usize::MAX),
    ("eq", 1, usize::MAX),
    ("ge", 2, 2),
    ("gt", 2, 2),
    ("html", 0, usize::MAX),
    ("index", 1, usize::MAX),
    ("join", 2, 2),
    ("js", 0, usize::MAX),
    ("json", 1, 1),
    ("le", 2, 2),
    ("len", 1, 1),
    ("lower", 1, 1),
    ("lt", 2, 2),
    ("ne", 2, 2),
    ("not", 1, 1),
    ("pad", 3, 3),
    ("print", 0, usize::MAX),
    ("printf", 1, usize::MAX),
    ("println", 0, usize::MAX),
    ("slice", 1, usize::MAX),
    ("split", 2, 2),
    ("title", 1, 1),
    ("truncate", 2, 2),
    ("upper", 1, 1),
    ("urlquery", 0, usize::MAX),
];

/// Calls a function; what it says when it fails is in Go's words.
pub(super) fn call(name: &str, args: &[Value]) -> Outcome<Value> {
    let Some((_, least, most)) = COUNTS.iter().find(|(known, ..)| *known == name) else {
        return Err(format!("wrong number of args for {name}: want at least 1 got 0"));
    };
    if args.len() < *least || args.len() > *most {
        let want = if least == most { least.to_string() } else { format!("at least {least}") };
        return Err(format!("wrong number of args for {name}: want {want} got {}", args.len()));
    }
    let failed = |why: String| format!("error calling {name}: {why}");
    Ok(match name {
        "json" => Value::Text(args[0].ordered().json_plain()),
        "print" => Value::Text(print(args)),
        "println" => Value::Text(args.iter().map(Value::inner).collect::<Vec<_>>().join(" ") + "\n"),
        "printf" => Value::Text(printf::format(&text(&args[0])?, &args[1..])),
        "upper" => Value::Text(text(&args[0])?.to_uppercase()),
        "lower" => Value::Text(text(&args[0])?.to_lowercase()),
        "title" => Value::Text(title(&text(&args[0])?)),
        "split" => Value::List(split(&text(&args[0])?, &text(&args[1])?)),
        "join" => match &args[0] {
            Value::List(items) => Value::Text(items.iter().map(Value::inner).collect::<Vec<_>>().join(&text(&args[1])?)),
            Value::Null(Zero::List) => Value::Text(String::new()),
            other => return Err(format!("wrong type for value; expected []string; got {}", other.type_name())),
        },
        "pad" => pad(&args[0], &args[1], &args[2])?,
        "truncate" => {
            let (text, length) = (text(&args[0])?, count(&args[1])?);
            Value::Text(text.get(..text.floor_char_boundary(length)).unwrap_or(&text).to_owned())
        }
        "len" => Value::Int(length(&args[0]).map_err(failed)?),
        "index" => args[1..].iter().try_fold(args[0].clone(), |value, key| index(&value, key)).map_err(failed)?,
        "slice" => slice(args).map_err(failed)?,
        "not" => Value::Bool(!args[0].truth()),
        "eq" | "ne" | "lt" | "le" | "gt" | "ge" => Value::Bool(compare(name, args).map_err(failed)?),
        "html" => Value::Text(escape(&print(args), &[('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', "&#34;"), ('\'', "&#39;")])),
        "js" => Value::Text(escape(
            &print(args),
            &[
                ('\\', "\\\\"),
                ('\'', "\\'"),
                ('"', "\\\""),
                ('<', "\\u003C"),
                ('>', "\\u003E"),
                ('&', "\\u0026"),
                ('=', "\\u003D"),
                ('\n', "\\u000A"),
            ],
        )),
        "urlquery" => Value::Text(docker_api::client::escape(&print(args)).replace("%20", "+")),
        _ => return Err(failed(format!("non-function of type {}", args[0].type_name()))),
    })
}

/// Go's `print`: a blank between operands of which neither is a text.
fn print(args: &[Value]) -> String {
    let mut result = String::new();
    for (index, value) in args.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| args.get(before));
        if before.is_some_and(|before| !matches!(before, Value::Text(_)) && !matches!(value, Value::Text(_))) {
            result.push(' ');
        }
        result.push_str(&value.inner());
    }
    result
}

fn text(value: &Value) -> Outcome<String> {
    match value {
        Value::Text(text) => Ok(text.clone()),
        Value::Null(Zero::Missing) => Err("invalid value; expected string".to_owned()),
        other => Err(format!("wrong type for value; expected string; got {}", other.type_name())),
    }
}

fn count(value: &Value) -> Outcome<usize> {
    match value {
        Value::Int(number) => Ok(usize::try_from(*number).unwrap_or_default()),
        other => Err(format!("wrong type for value; expected int; got {}", other.type_name())),
    }
}

fn pad(value: &Value, before: &Value, after: &Value) -> Outcome<Value> {
    let text = text(value)?;
    let blanks = |value: &Value| count(value).map(|count| " ".repeat(count.min(1 << 16)));
    let (before, after) = (blanks(before)?, blanks(after)?);
    Ok(Value::Text(if text.is_empty() { text } else { format!("{before}{text}{after}") }))
}

fn split(text: &str, separator: &str) -> Vec<Value> {
    if separator.is_empty() {
        return text.chars().map(|letter| Value::Text(letter.to_string())).collect();
    }
    text.split(separator).map(|part| Value::Text(part.to_owned())).collect()
}

fn title(text: &str) -> String {
    let mut start = true;
    let letter = |letter: char| {
        let upper = if start { letter.to_uppercase().next().unwrap_or(letter) } else { letter };
        start = !(letter.is_alphanumeric() || letter == '_' || letter == '\'');
        upper
    };
    text.chars().map(letter).collect()
}

fn escape(text: &str, pairs: &[(char, &str)]) -> String {
    let mut result = String::new();
    for letter in text.chars() {
        match pairs.iter().find(|(from, _)| *from == letter) {
            Some((_, to)) => result.push_str(to),
            None => result.push(letter),
        }
    }
    result
}

fn length(value: &Value) -> Outcome<i64> {
    let length = match value {
        Value::List(items) => items.len(),
        Value::Map(fields) => fields.len(),
        Value::Text(text) => text.len(),
        Value::Null(Zero::List | Zero::Map) => 0,
        Value::Null(Zero::Missing | Zero::Pointer) => return Err("len of nil pointer".to_owned()),
        other @ (Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Struct(..) | Value::Row(..)) => {
            return Err(format!("len of type {}", other.type_name()));
        }
    };
    Ok(i64::try_from(length).unwrap_or(i64::MAX))
}

fn index(value: &Value, key: &Value) -> Outcome<Value> {
    match (value, key) {
        (Value::Map(fields), Value::Text(name)) => Ok(fields.get(name).cloned().unwrap_or(Value::Null(Zero::Missing))),
        (Value::Map(_), other) => Err(format!("value has type {}; should be string", other.type_name())),
        (Value::List(items), Value::Int(number)) => {
            let item = usize::try_from(*number).ok().and_then(|index| items.get(index));
            item.cloned().ok_or_else(|| format!("index out of range: {number}"))
        }
        (Value::Text(text), Value::Int(number)) => {
            let byte = usize::try_from(*number).ok().and_then(|index| text.as_bytes().get(index));
            byte.map(|byte| Value::Int(i64::from(*byte))).ok_or_else(|| format!("index out of range: {number}"))
        }
        (Value::List(_) | Value::Text(_), other) => Err(format!("cannot index slice/array with type {}", other.type_name())),
        (Value::Null(Zero::Map), _) => Ok(Value::Null(Zero::Missing)),
        (Value::Null(Zero::List), Value::Int(number)) => Err(format!("index out of range: {number}")),
        (Value::Null(_), _) => Err("index of untyped nil".to_owned()),
        (other, _) => Err(format!("can't index item of type {}", other.type_name())),
    }
}

fn slice(args: &[Value]) -> Outcome<Value> {
    if args.len() > 4 {
        return Err(format!("too many slice indexes: {}", args.len() - 1));
    }
    let size = match &args[0] {
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let bound = |at: usize, default: usize| match args.get(at) {
        None => Ok(default),
        Some(Value::Int(number)) => {
            usize::try_from(*number).ok().filter(|bound| *bound <= size).ok_or_else(|| format!("index out of range: {number}"))
        }
        Some(other) => Err(format!("cannot index slice/array with type {}", other.type_name())),
    };
    let (from, to) = (bound(1, 0)?, bound(2, size)?);
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    match &args[0] {
        Value::Text(text) => Ok(Value::Text(String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned())),
        Value::List(items) => Ok(Value::List(items[from..to].to_vec())),
        other => Err(format!("can't slice item of type {}", other.type_name())),
    }
}

fn compare(name: &str, args: &[Value]) -> Outcome<bool> {
    let Some((first, rest)) = args.split_first() else {
        return Ok(false);
    };
    if name == "eq" || name == "ne" {
        if rest.is_empty() {
            return Err("missing argument for comparison".to_owned());
        }
        for value in rest {
            if equal(first, value)? {
                return Ok(name == "eq");
            }
        }
        return Ok(name == "ne");
    }
    let order = match (first, &rest[0]) {
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right).unwrap_or(Ordering::Greater),
        (left, right) if basic(left) && basic(right) => return Err("incompatible types for comparison".to_owned()),
        _ => return Err("invalid type for comparison".to_owned()),
    };
    Ok(match name {
        "lt" => order == Ordering::Less,
        "le" => order != Ordering::Greater,
        "gt" => order == Ordering::Greater,
        _ => order != Ordering::Less,
    })
}

/// Whether Go compares it by size.
fn basic(value: &Value) -> bool {
    matches!(value, Value::Text(_) | Value::Int(_) | Value::Float(_) | Value::Bool(_))
}

fn equal(left: &Value, right: &Value) -> Outcome<bool> {
    match (left, right) {
        (Value::Null(_), Value::Null(_)) => Ok(true),
        (Value::Null(_), _) | (_, Value::Null(_)) => Ok(false),
        (left, right) if std::mem::discriminant(left) != std::mem::discriminant(right) => {
            Err("incompatible types for comparison".to_owned())
        }
        (Value::List(_) | Value::Map(_), _) => Err(format!("non-comparable type {}: {}", left.show(), left.type_name())),
        (left, right) => Ok(left == right),
    }
}
