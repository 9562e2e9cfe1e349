//! From words to nodes. **Source:** Go, `text/template/parse/parse.go`.

use std::fmt;

use super::lex::{self, Fault, Kind, Word};
use super::value::{Value, Zero};

/// Tests with what follows each, and what follows when none holds.
type Branches = (Vec<(Pipe, Vec<Node>)>, Vec<Node>);

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Text(String),
    Print(Pipe),
    If(Vec<(Pipe, Vec<Node>)>, Vec<Node>),
    With(Vec<(Pipe, Vec<Node>)>, Vec<Node>),
    Range { over: Pipe, body: Vec<Node>, otherwise: Vec<Node> },
    Break,
    Continue,
}

/// Commands whose results are passed on, and the variables that keep the last one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pipe {
    pub(super) names: Vec<String>,
    /// Whether the variables exist already.
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

/// One command: a function or value, and what it is given.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Command {
    pub(super) at: usize,
    pub(super) words: Vec<Term>,
}

/// A word of a command, with its place in the text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Term {
    pub(super) at: usize,
    pub(super) what: What,
}

/// What a word is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    Dot,
    Nil,
    /// A value, and how it was written.
    Literal(Value, String),
    /// Fields of the present value.
    Field(Vec<String>),
    /// Fields of a variable, which bears its `$`.
    Variable(String, Vec<String>),
    Function(String),
    Pipe(Box<Pipe>),
    /// Fields of what a pipe gives.
    Chain(Box<Pipe>, Vec<String>),
}

/// Templates this deep are nobody's.
const DEPTH_MAX: usize = 100;

/// Names of all functions.
pub(super) const FUNCTIONS: [&str; 27] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "join", "js", "json", "le", "len", "lower", "lt", "ne", "not", "or", "pad", "print",
    "printf", "println", "slice", "split", "title", "truncate", "upper", "urlquery",
];

pub(super) fn nodes(text: &str) -> Result<Vec<Node>, Fault> {
    let mut parser = Parser { words: lex::words(text)?, at: 0, variables: vec!["$".to_owned()], loops: 0 };
    let (nodes, end) = parser.list(0)?;
    match end {
        None => Ok(nodes),
        Some(word) => Err((word.at, format!("unexpected {{{{{}}}}}", word.text))),
    }
}

struct Parser<'a> {
    words: Vec<Word<'a>>,
    at: usize,
    variables: Vec<String>,
    loops: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Word<'a> {
        self.words.get(self.at).copied().unwrap_or(Word { kind: Kind::End, at: 0, text: "" })
    }

    fn next(&mut self) -> Word<'a> {
        let word = self.peek();
        self.at = self.at.saturating_add(1);
        word
    }

    /// The next word that is no blank.
    fn solid(&mut self) -> Word<'a> {
        while self.peek().kind == Kind::Space {
            self.at += 1;
        }
        self.next()
    }

    fn look(&mut self) -> Word<'a> {
        let word = self.solid();
        self.at -= 1;
        word
    }

    fn unexpected<T>(word: Word<'_>, place: &str) -> Result<T, Fault> {
        let text = match word.kind {
            Kind::End => "EOF".to_owned(),
            Kind::Keyword => format!("<{}>", word.text),
            _ => format!("{:?}", word.text),
        };
        Err((word.at, format!("unexpected {text} in {place}")))
    }

    /// Nodes up to `end`, `else` or the end of the text, and which of the words it was.
    fn list(&mut self, depth: usize) -> Result<(Vec<Node>, Option<Word<'a>>), Fault> {
        if depth > DEPTH_MAX {
            return Err((self.peek().at, "max depth exceeded".to_owned()));
        }
        let mut nodes = Vec::new();
        loop {
            let word = self.next();
            match word.kind {
                Kind::Text => nodes.push(Node::Text(word.text.to_owned())),
                Kind::Open => {
                    let first = self.look();
                    if first.kind == Kind::Keyword && matches!(first.text, "end" | "else") {
                        self.solid();
                        return Ok((nodes, Some(first)));
                    }
                    nodes.push(self.action(depth)?);
                }
                _ => return Ok((nodes, None)),
            }
        }
    }

    fn action(&mut self, depth: usize) -> Result<Node, Fault> {
        let first = self.look();
        if first.kind != Kind::Keyword {
            return self.pipe("command", Kind::Close, depth).map(Node::Print);
        }
        self.solid();
        let before = self.variables.len();
        let node = match first.text {
            "if" => {
                let (branches, otherwise) = self.branches("if", depth)?;
                Node::If(branches, otherwise)
            }
            "with" => {
                let (branches, otherwise) = self.branches("with", depth)?;
                Node::With(branches, otherwise)
            }
            "range" => self.range(depth)?,
            word @ ("break" | "continue") => {
                let close = self.solid();
                if close.kind != Kind::Close {
                    return Self::unexpected(close, &format!("{{{{{word}}}}}"));
                }
                if self.loops == 0 {
                    return Err((first.at, format!("{{{{{word}}}}} outside {{{{range}}}}")));
                }
                return Ok(if word == "break" { Node::Break } else { Node::Continue });
            }
            word => return Err((first.at, format!("{{{{{word}}}}} is not supported here"))),
        };
        self.variables.truncate(before);
        Ok(node)
    }

    /// What ends a list of nodes must be there.
    fn ended(&self, end: Option<Word<'a>>) -> Result<Word<'a>, Fault> {
        end.ok_or_else(|| (self.words.last().map_or(0, |word| word.at), "unexpected EOF".to_owned()))
    }

    fn branches(&mut self, context: &str, depth: usize) -> Result<Branches, Fault> {
        let mut branches = Vec::new();
        loop {
            let test = self.pipe(context, Kind::Close, depth)?;
            let (body, end) = self.list(depth + 1)?;
            branches.push((test, body));
            if self.ended(end)?.text == "end" {
                self.close("end")?;
                return Ok((branches, Vec::new()));
            }
            let next = self.look();
            if next.kind == Kind::Keyword && next.text == context {
                self.solid();
                continue;
            }
            return Ok((branches, self.otherwise(depth)?));
        }
    }

    /// What stands between `else` and `end`.
    fn otherwise(&mut self, depth: usize) -> Result<Vec<Node>, Fault> {
        self.close("else")?;
        let (nodes, end) = self.list(depth + 1)?;
        let end = self.ended(end)?;
        if end.text != "end" {
            return Err((end.at, "expected end; found {{else}}".to_owned()));
        }
        self.close("end")?;
        Ok(nodes)
    }

    fn close(&mut self, context: &str) -> Result<(), Fault> {
        let word = self.solid();
        if word.kind == Kind::Close { Ok(()) } else { Self::unexpected(word, context) }
    }

    fn range(&mut self, depth: usize) -> Result<Node, Fault> {
        let over = self.pipe("range", Kind::Close, depth)?;
        self.loops += 1;
        let (body, end) = self.list(depth + 1)?;
        self.loops -= 1;
        let otherwise = if self.ended(end)?.text == "end" {
            self.close("end")?;
            Vec::new()
        } else {
            self.otherwise(depth)?
        };
        Ok(Node::Range { over, body, otherwise })
    }

    /// Variables before `:=` or `=`, if there are any.
    fn names(&mut self, context: &str) -> Result<(Vec<String>, bool), Fault> {
        let start = self.at;
        let mut names = Vec::new();
        while self.look().kind == Kind::Variable {
            let word = self.solid();
            names.push(word.text.to_owned());
            match self.look().kind {
                kind @ (Kind::Declare | Kind::Assign) => {
                    self.solid();
                    let assigns = kind == Kind::Assign;
                    if let Some(unknown) = names.iter().find(|name| assigns && !self.variables.contains(name)) {
                        return Err((word.at, format!("undefined variable {unknown:?}")));
                    }
                    if !assigns {
                        self.variables.extend(names.iter().cloned());
                    }
                    return Ok((names, assigns));
                }
                Kind::Comma if context == "range" && names.len() < 2 => drop(self.solid()),
                Kind::Comma => return Err((word.at, format!("too many declarations in {context}"))),
                _ => break,
            }
        }
        self.at = start;
        Ok((Vec::new(), false))
    }

    fn pipe(&mut self, context: &str, end: Kind, depth: usize) -> Result<Pipe, Fault> {
        if depth > DEPTH_MAX {
            return Err((self.peek().at, "max depth exceeded".to_owned()));
        }
        let (names, assigns) = self.names(context)?;
        let mut commands = Vec::new();
        loop {
            let word = self.look();
            match word.kind {
                kind if kind == end => {
                    self.solid();
                    break;
                }
                Kind::Bool
                | Kind::Dot
                | Kind::Field
                | Kind::Name
                | Kind::Number
                | Kind::Nil
                | Kind::Raw
                | Kind::Quoted
                | Kind::Variable
                | Kind::Left => {
                    commands.push(self.command(depth)?);
                }
                _ => return Self::unexpected(word, context),
            }
        }
        let at = self.peek().at;
        if commands.is_empty() {
            return Err((at, format!("missing value for {context}")));
        }
        // Only the first command may be a plain value.
        for (index, command) in commands.iter().enumerate().skip(1) {
            if let Some(Term { what: What::Literal(..) | What::Dot | What::Nil, .. }) = command.words.first() {
                return Err((command.at, format!("non executable command in pipeline stage {}", index + 1)));
            }
        }
        Ok(Pipe { names, assigns, commands })
    }

    fn command(&mut self, depth: usize) -> Result<Command, Fault> {
        let at = self.look().at;
        let mut words = Vec::new();
        loop {
            let first = self.look();
            if let Some(term) = self.operand(depth)? {
                words.push(term);
            }
            let word = self.next();
            match word.kind {
                Kind::Space => continue,
                Kind::Close | Kind::Right => self.at -= 1,
                Kind::Pipe => {
                    // A pipe leads to a further command.
                    let next = self.look();
                    if matches!(next.kind, Kind::Close | Kind::Right) {
                        return Err((next.at, "missing value for command".to_owned()));
                    }
                }
                _ => return Self::unexpected(word, "operand"),
            }
            if words.is_empty() {
                return Err((first.at, "empty command".to_owned()));
            }
            return Ok(Command { at, words });
        }
    }

    fn operand(&mut self, depth: usize) -> Result<Option<Term>, Fault> {
        let word = self.look();
        let what = match word.kind {
            Kind::Name if FUNCTIONS.contains(&word.text) => What::Function(word.text.to_owned()),
            Kind::Name => return Err((word.at, format!("function {:?} not defined", word.text))),
            Kind::Dot => What::Dot,
            Kind::Nil => What::Nil,
            Kind::Bool => What::Literal(Value::Bool(word.text == "true"), word.text.to_owned()),
            Kind::Number => What::Literal(number(word)?, word.text.to_owned()),
            Kind::Quoted => What::Literal(Value::Text(unquote(word)?), word.text.to_owned()),
            Kind::Raw => What::Literal(Value::Text(word.text.trim_matches('`').to_owned()), word.text.to_owned()),
            Kind::Field => What::Field(vec![word.text[1..].to_owned()]),
            Kind::Variable if self.variables.iter().any(|name| name == word.text) => What::Variable(word.text.to_owned(), Vec::new()),
            Kind::Variable => return Err((word.at, format!("undefined variable {:?}", word.text))),
            Kind::Left => {
                self.solid();
                let pipe = self.pipe("parenthesized pipeline", Kind::Right, depth + 1)?;
                self.at -= 1;
                What::Pipe(Box::new(pipe))
            }
            _ => return Ok(None),
        };
        self.solid();
        if self.peek().kind != Kind::Field {
            return Ok(Some(Term { at: word.at, what }));
        }
        let at = self.peek().at;
        let mut fields = Vec::new();
        while self.peek().kind == Kind::Field {
            fields.push(self.next().text[1..].to_owned());
        }
        let what = match what {
            What::Field(first) => What::Field([first, fields].concat()),
            What::Variable(name, _) => What::Variable(name, fields),
            What::Pipe(pipe) => What::Chain(pipe, fields),
            What::Dot | What::Nil | What::Literal(..) | What::Function(_) | What::Chain(..) => {
                return Err((at, format!("unexpected . after term {:?}", word.text)));
            }
        };
        Ok(Some(Term { at, what }))
    }
}

fn number(word: Word<'_>) -> Result<Value, Fault> {
    if word.text.starts_with('\'') {
        let inner = unescape(&word.text[1..word.text.len() - 1]).unwrap_or_default();
        let mut letters = inner.chars();
        return match (letters.next(), letters.next()) {
            (Some(letter), None) => Ok(Value::Int(i64::from(u32::from(letter)))),
            _ => Err((word.at, format!("malformed character constant: {}", word.text))),
        };
    }
    match lex::parse_number(word.text) {
        Some(Ok(number)) => Ok(Value::Int(number)),
        Some(Err(number)) => Ok(Value::Float(number)),
        None => Err((word.at, format!("illegal number syntax: {:?}", word.text))),
    }
}

fn unquote(word: Word<'_>) -> Result<String, Fault> {
    unescape(&word.text[1..word.text.len() - 1]).ok_or((word.at, "invalid syntax".to_owned()))
}

/// Go's escapes.
fn unescape(text: &str) -> Option<String> {
    let mut result = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            result.push(letter);
            continue;
        }
        let code = |letters: &mut std::str::Chars<'_>, count: usize| {
            let digits: String = letters.by_ref().take(count).collect();
            u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32).filter(|_| digits.len() == count)
        };
        result.push(match letters.next()? {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            'x' => code(&mut letters, 2)?,
            'u' => code(&mut letters, 4)?,
            'U' => code(&mut letters, 8)?,
            letter @ ('\\' | '"' | '\'') => letter,
            _ => return None,
        });
    }
    Some(result)
}

impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.names.is_empty() {
            write!(f, "{} {} ", self.names.join(", "), if self.assigns { "=" } else { ":=" })?;
        }
        for (index, command) in self.commands.iter().enumerate() {
            write!(f, "{}{command}", if index > 0 { " | " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.words.iter().enumerate() {
            let blank = if index > 0 { " " } else { "" };
            write!(f, "{blank}{term}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = |fields: &[String]| fields.iter().map(|field| format!(".{field}")).collect::<String>();
        match &self.what {
            What::Dot => f.write_str("."),
            What::Nil => f.write_str("nil"),
            What::Literal(_, text) => f.write_str(text),
            What::Field(path) => f.write_str(&fields(path)),
            What::Variable(name, path) => write!(f, "{name}{}", fields(path)),
            What::Function(name) => f.write_str(name),
            What::Pipe(pipe) => write!(f, "({pipe})"),
            What::Chain(pipe, path) => write!(f, "({pipe}){}", fields(path)),
        }
    }
}

impl Value {
    /// The value of `nil`.
    pub(super) const NIL: Self = Self::Null(Zero::Missing);
}
