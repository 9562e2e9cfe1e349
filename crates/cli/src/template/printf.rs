//! Go's `Printf`. **Source:** Go, package `fmt`.

use super::value::Value;

/// Widths beyond this are nobody's.
const WIDTH_MAX: usize = 4096;

/// Flags, width and precision of one verb.
#[derive(Default)]
struct Spec {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

/// Formats values by a text with verbs.
pub(super) fn format(text: &str, args: &[Value]) -> String {
    let mut result = String::new();
    let mut args = args.iter();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            result.push(letter);
            continue;
        }
        let spec = spec(&mut letters, &mut args);
        let Some(verb) = letters.next() else {
            result.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            result.push('%');
            continue;
        }
        match args.next() {
            Some(value) => result.push_str(&one(verb, &spec, value)),
            None => result.push_str(&format!("%!{verb}(MISSING)")),
        }
    }
    let rest: Vec<String> = args.map(|value| format!("{}={}", value.type_name(), value.inner())).collect();
    if !rest.is_empty() {
        result.push_str(&format!("%!(EXTRA {})", rest.join(", ")));
    }
    result
}

fn spec(letters: &mut std::iter::Peekable<std::str::Chars<'_>>, args: &mut std::slice::Iter<'_, Value>) -> Spec {
    let mut spec = Spec::default();
    while let Some(letter) = letters.next_if(|letter| "-+# 0".contains(*letter)) {
        match letter {
            '-' => spec.minus = true,
            '+' => spec.plus = true,
            '#' => spec.sharp = true,
            ' ' => spec.space = true,
            _ => spec.zero = true,
        }
    }
    let mut number = |letters: &mut std::iter::Peekable<std::str::Chars<'_>>| {
        if letters.next_if_eq(&'*').is_some() {
            return match args.next() {
                Some(Value::Int(number)) => usize::try_from(*number).unwrap_or_default().min(WIDTH_MAX),
                _ => 0,
            };
        }
        let mut number = 0usize;
        while let Some(digit) = letters.peek().and_then(|letter| letter.to_digit(10)) {
            letters.next();
            number = number.saturating_mul(10).saturating_add(usize::try_from(digit).unwrap_or_default()).min(WIDTH_MAX);
        }
        number
    };
    spec.width = number(letters);
    if letters.next_if_eq(&'.').is_some() {
        spec.precision = Some(number(letters));
    }
    spec
}

fn one(verb: char, spec: &Spec, value: &Value) -> String {
    let cut = |text: String| match spec.precision {
        Some(length) => text.chars().take(length).collect(),
        None => text,
    };
    let shown = match (verb, value) {
        ('v', value) => value.inner(),
        ('T', value) => value.type_name().to_owned(),
        ('s', Value::Text(text)) => cut(text.clone()),
        ('q', Value::Text(text)) => format!("{text:?}"),
        ('x', Value::Text(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ('X', Value::Text(text)) => text.bytes().map(|byte| format!("{byte:02X}")).collect(),
        ('t', Value::Bool(on)) => on.to_string(),
        ('d', Value::Int(number)) => signed(spec, number.to_string()),
        ('x', Value::Int(number)) => based(spec, *number, "0x", &format!("{:x}", number.unsigned_abs())),
        ('X', Value::Int(number)) => based(spec, *number, "0X", &format!("{:X}", number.unsigned_abs())),
        ('o', Value::Int(number)) => based(spec, *number, "0", &format!("{:o}", number.unsigned_abs())),
        ('b', Value::Int(number)) => based(spec, *number, "0b", &format!("{:b}", number.unsigned_abs())),
        ('c', Value::Int(number)) => u32::try_from(*number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}').to_string(),
        ('f' | 'F', Value::Float(number)) => signed(spec, format!("{number:.*}", spec.precision.unwrap_or(6))),
        ('g' | 'G', Value::Float(number)) => signed(spec, number.to_string()),
        ('e' | 'E', Value::Float(number)) => signed(spec, exponent(*number, spec.precision.unwrap_or(6))),
        // A list or a map is formatted item by item.
        (verb, Value::List(items)) => {
            let inner = Spec { precision: spec.precision, sharp: spec.sharp, ..Spec::default() };
            format!("[{}]", items.iter().map(|item| one(verb, &inner, item)).collect::<Vec<_>>().join(" "))
        }
        (verb, value) => format!("%!{verb}({}={})", value.type_name(), value.inner()),
    };
    let missing = spec.width.saturating_sub(shown.chars().count());
    if spec.minus {
        format!("{shown}{}", " ".repeat(missing))
    } else if spec.zero {
        let (sign, digits) = shown.strip_prefix(['-', '+']).map_or(("", shown.as_str()), |digits| (&shown[..1], digits));
        format!("{sign}{}{digits}", "0".repeat(missing))
    } else {
        format!("{}{shown}", " ".repeat(missing))
    }
}

fn signed(spec: &Spec, text: String) -> String {
    match (text.starts_with('-'), spec.plus, spec.space) {
        (false, true, _) => format!("+{text}"),
        (false, false, true) => format!(" {text}"),
        _ => text,
    }
}

fn based(spec: &Spec, number: i64, prefix: &str, digits: &str) -> String {
    let prefix = if spec.sharp { prefix } else { "" };
    signed(spec, format!("{}{prefix}{digits}", if number < 0 { "-" } else { "" }))
}

/// Go writes at least two digits of the exponent, with its sign.
fn exponent(number: f64, digits: usize) -> String {
    let text = format!("{number:.digits$e}");
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    let power: i32 = power.parse().unwrap_or_default();
    format!("{mantissa}e{}{:02}", if power < 0 { '-' } else { '+' }, power.unsigned_abs())
}
