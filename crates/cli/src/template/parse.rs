//! From text to nodes.

use serde_json::Value;

/// A part of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Text(String),
    Print(Pipe),
    Set(String, Pipe),
    If(Vec<(Pipe, Vec<Node>)>, Vec<Node>),
    Range { key: Option<String>, value: Option<String>, over: Pipe, body: Vec<Node>, otherwise: Vec<Node> },
    With(Pipe, Vec<Node>, Vec<Node>),
}

/// Commands whose results are passed on.
pub(super) type Pipe = Vec<Vec<Term>>;

/// One word of a command.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Term {
    Literal(Value),
    /// Fields of the present value; none is the value itself.
    Field(Vec<String>),
    /// Fields of a variable; `$` is named by the empty text.
    Variable(String, Vec<String>),
    Function(String),
    Pipe(Pipe, Vec<String>),
}

/// Templates this deep are nobody's.
const DEPTH_MAX: usize = 64;

pub(super) fn nodes(text: &str) -> Result<Vec<Node>, String> {
    let mut parser = Parser { pieces: split(text)?, at: 0 };
    let nodes = parser.list(0)?;
    match parser.next_action() {
        None => Ok(nodes),
        Some(word) => Err(format!("unexpected {{{{{word}}}}}")),
    }
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Action(String),
}

fn split(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim = false;
    while let Some(start) = rest.find("{{") {
        let mut before = &rest[..start];
        if trim {
            before = before.trim_start();
        }
        rest = &rest[start + 2..];
        if rest.starts_with("- ") {
            before = before.trim_end();
            rest = &rest[2..];
        }
        pieces.push(Piece::Text(before.to_owned()));
        let end = end_of_action(rest).ok_or("unclosed action")?;
        let mut action = &rest[..end];
        rest = &rest[end + 2..];
        trim = action.ends_with(" -");
        if trim {
            action = &action[..action.len() - 2];
        }
        if !action.trim_start().starts_with("/*") {
            pieces.push(Piece::Action(action.trim().to_owned()));
        }
    }
    pieces.push(Piece::Text(if trim { rest.trim_start() } else { rest }.to_owned()));
    Ok(pieces)
}

/// The closing braces outside of texts in quotes.
fn end_of_action(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut quote) = (0, None);
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(b'"'), b'\\') => at += 1,
            (Some(open), byte) if open == byte => quote = None,
            (Some(_), _) => {}
            (None, byte @ (b'"' | b'`')) => quote = Some(byte),
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            (None, _) => {}
        }
        at += 1;
    }
    None
}

struct Parser {
    pieces: Vec<Piece>,
    at: usize,
}

impl Parser {
    fn next_action(&self) -> Option<&str> {
        match self.pieces.get(self.at) {
            Some(Piece::Action(action)) => Some(action),
            Some(Piece::Text(_)) | None => None,
        }
    }

    /// Nodes up to `end`, `else` or the end of the text.
    fn list(&mut self, depth: usize) -> Result<Vec<Node>, String> {
        if depth > DEPTH_MAX {
            return Err("nested too deeply".into());
        }
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.get(self.at).cloned() {
            let action = match piece {
                Piece::Text(text) => {
                    self.at += 1;
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(action) => action,
            };
            let (word, rest) = action.split_once(char::is_whitespace).unwrap_or((&action, ""));
            if word == "end" || word == "else" {
                break;
            }
            self.at += 1;
            nodes.push(match word {
                "if" => self.condition(rest, depth)?,
                "with" => {
                    let (body, otherwise) = self.bodies(depth)?;
                    Node::With(pipe(rest)?, body, otherwise)
                }
                "range" => self.range(rest, depth)?,
                _ => assignment(&action)?,
            });
        }
        Ok(nodes)
    }

    fn condition(&mut self, first: &str, depth: usize) -> Result<Node, String> {
        let mut branches = vec![(pipe(first)?, self.list(depth + 1)?)];
        loop {
            let action = self.next_action().ok_or("unexpected EOF")?.to_owned();
            self.at += 1;
            if action == "end" {
                return Ok(Node::If(branches, Vec::new()));
            }
            match action.strip_prefix("else").map(str::trim) {
                Some("") => {
                    let otherwise = self.list(depth + 1)?;
                    return self.end().map(|()| Node::If(branches, otherwise));
                }
                Some(rest) => {
                    let test = rest.strip_prefix("if").ok_or_else(|| format!("unexpected {rest}"))?;
                    branches.push((pipe(test)?, self.list(depth + 1)?));
                }
                None => return Err(format!("unexpected {{{{{action}}}}}")),
            }
        }
    }

    fn bodies(&mut self, depth: usize) -> Result<(Vec<Node>, Vec<Node>), String> {
        let body = self.list(depth + 1)?;
        let mut otherwise = Vec::new();
        if self.next_action() == Some("else") {
            self.at += 1;
            otherwise = self.list(depth + 1)?;
        }
        self.end().map(|()| (body, otherwise))
    }

    fn end(&mut self) -> Result<(), String> {
        match self.next_action() {
            Some("end") => {
                self.at += 1;
                Ok(())
            }
            Some(action) => Err(format!("unexpected {{{{{action}}}}}")),
            None => Err("unexpected EOF".into()),
        }
    }

    fn range(&mut self, text: &str, depth: usize) -> Result<Node, String> {
        let (names, over) = match text.split_once(":=") {
            Some((names, over)) => (names.split(',').map(|name| name.trim().trim_start_matches('$').to_owned()).collect(), over),
            None => (Vec::new(), text),
        };
        let over = pipe(over)?;
        let (body, otherwise) = self.bodies(depth)?;
        let (key, value) = match names.as_slice() {
            [] => (None, None),
            [value] => (None, Some(value.clone())),
            [key, value] => (Some(key.clone()), Some(value.clone())),
            _ => return Err("too many variables in range".into()),
        };
        Ok(Node::Range { key, value, over, body, otherwise })
    }
}

fn assignment(action: &str) -> Result<Node, String> {
    if let Some((name, value)) =
        action.split_once(":=").or_else(|| action.split_once(" = ")).filter(|(name, _)| name.trim_start().starts_with('$'))
    {
        return Ok(Node::Set(name.trim().trim_start_matches('$').to_owned(), pipe(value)?));
    }
    pipe(action).map(Node::Print)
}

fn pipe(text: &str) -> Result<Pipe, String> {
    let mut tokens = Tokens { rest: text, depth: 0 };
    let pipe = tokens.pipe()?;
    if tokens.rest.trim().is_empty() { Ok(pipe) } else { Err(format!("unexpected {:?} in operand", tokens.rest.trim())) }
}

struct Tokens<'a> {
    rest: &'a str,
    depth: usize,
}

impl Tokens<'_> {
    fn pipe(&mut self) -> Result<Pipe, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("nested too deeply".into());
        }
        let mut commands = vec![Vec::new()];
        loop {
            self.rest = self.rest.trim_start();
            let Some(first) = self.rest.chars().next().filter(|first| *first != ')') else {
                break;
            };
            if first == '|' {
                self.rest = &self.rest[1..];
                commands.push(Vec::new());
                continue;
            }
            let term = self.term(first)?;
            if let Some(command) = commands.last_mut() {
                command.push(term);
            }
        }
        self.depth -= 1;
        if commands.iter().any(Vec::is_empty) { Err("missing value for command".into()) } else { Ok(commands) }
    }

    fn term(&mut self, first: char) -> Result<Term, String> {
        match first {
            '(' => {
                self.rest = &self.rest[1..];
                let pipe = self.pipe()?;
                self.rest = self.rest.trim_start().strip_prefix(')').ok_or("unclosed left paren")?;
                let fields = self.word();
                Ok(Term::Pipe(pipe, fields_of(&fields)))
            }
            '"' => self.quoted(),
            '`' => {
                let end = self.rest[1..].find('`').ok_or("unterminated raw quoted string")?;
                let text = self.rest[1..=end].to_owned();
                self.rest = &self.rest[end + 2..];
                Ok(Term::Literal(Value::String(text)))
            }
            '.' => {
                let word = self.word();
                Ok(Term::Field(fields_of(&word)))
            }
            '$' => {
                let word = self.word();
                let (name, fields) = word[1..].split_once('.').map_or((&word[1..], ""), |(name, fields)| (name, fields));
                Ok(Term::Variable(name.to_owned(), fields_of(fields)))
            }
            _ => {
                let word = self.word();
                Ok(match word.as_str() {
                    "true" => Term::Literal(Value::Bool(true)),
                    "false" => Term::Literal(Value::Bool(false)),
                    "nil" => Term::Literal(Value::Null),
                    "" => return Err(format!("unexpected {first:?} in command")),
                    word => match word.parse::<i64>() {
                        Ok(number) => Term::Literal(number.into()),
                        Err(_) => Term::Function(word.to_owned()),
                    },
                })
            }
        }
    }

    fn word(&mut self) -> String {
        let end = self.rest.find(|c: char| c.is_whitespace() || matches!(c, '|' | '(' | ')' | '"' | '`')).unwrap_or(self.rest.len());
        let word = self.rest[..end].to_owned();
        self.rest = &self.rest[end..];
        word
    }

    fn quoted(&mut self) -> Result<Term, String> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(Term::Literal(Value::String(text)));
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some(c) => text.push(c),
                    None => break,
                },
                c => text.push(c),
            }
        }
        Err("unterminated quoted string".into())
    }
}

fn fields_of(text: &str) -> Vec<String> {
    text.split('.').filter(|field| !field.is_empty()).map(str::to_owned).collect()
}
