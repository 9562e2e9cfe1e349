//! DNS messages: queries are read, answers written. Source: RFC 1035 section 4, RFC 6891 for EDNS.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 address.
pub(crate) const TYPE_A: u16 = 1;
/// The name of an address.
pub(crate) const TYPE_PTR: u16 = 12;
/// An IPv6 address.
pub(crate) const TYPE_AAAA: u16 = 28;
/// The options of EDNS.
const TYPE_OPT: u16 = 41;
const CLASS_INTERNET: u16 = 1;
const HEADER: usize = 12;
/// Bytes of the longest name. Source: RFC 1035 section 2.3.4.
const NAME_MAX: usize = 255;
/// Bytes of a datagram where no EDNS says otherwise. Source: RFC 1035 section 2.3.4.
const DATAGRAM: usize = 512;
/// Bytes of a datagram that we take at most.
const DATAGRAM_MAX: usize = 4096;
/// Seconds that an answer may be kept: addresses of containers change.
const TTL: u32 = 5;
/// A name that stands at the beginning of the question.
const POINTER: [u8; 2] = [0xc0, 12];

/// How a query was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// It was.
    NoError = 0,
    /// The query makes no sense.
    FormatError = 1,
    /// Nobody could be asked.
    ServerFailure = 2,
    /// Another kind of query than a question.
    NotImplemented = 4,
}

/// A question with what its answer needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query<'a> {
    id: [u8; 2],
    /// The client wants recursion.
    recursion: bool,
    /// The question as it came, whose letters' cases are kept.
    question: &'a [u8],
    /// The name in lower case without its last dot.
    pub(crate) name: String,
    /// What is asked for.
    pub(crate) kind: u16,
    /// Bytes of the datagram that the client takes, if it uses EDNS.
    datagram: Option<u16>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// An address.
    Address(IpAddr),
    /// A name.
    Name(String),
}

/// Reads a query.
///
/// # Errors
/// The answer to send, which is empty if the message deserves none.
pub(crate) fn parse(bytes: &[u8]) -> Result<Query<'_>, Vec<u8>> {
    let header = bytes.get(..HEADER).ok_or_else(Vec::new)?;
    if header[2] & 0x80 != 0 {
        return Err(Vec::new()); // an answer: to answer it could go on for ever
    }
    let refuse = |code| refusal(header, code);
    if header[2] & 0x78 != 0 {
        return Err(refuse(Code::NotImplemented));
    }
    let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    if count(4) != 1 {
        return Err(refuse(Code::FormatError));
    }
    let (name, at) = read_name(bytes, HEADER).ok_or_else(|| refuse(Code::FormatError))?;
    let (Some(kind), Some(class)) = (u16_at(bytes, at), u16_at(bytes, at + 2)) else {
        return Err(refuse(Code::FormatError));
    };
    let records = usize::from(count(6)) + usize::from(count(8)) + usize::from(count(10));
    Ok(Query {
        id: [header[0], header[1]],
        recursion: header[2] & 1 != 0,
        question: &bytes[HEADER..at + 4],
        name,
        kind: if class == CLASS_INTERNET { kind } else { 0 },
        datagram: datagram(bytes, at + 4, records),
    })
}

/// Finds what EDNS says of datagrams among the records.
fn datagram(bytes: &[u8], mut at: usize, records: usize) -> Option<u16> {
    for _ in 0..records {
        at = skip_name(bytes, at)?;
        if u16_at(bytes, at)? == TYPE_OPT {
            return u16_at(bytes, at + 2);
        }
        at += 10 + usize::from(u16_at(bytes, at + 8)?);
    }
    None
}

/// Reads a name without pointers, which questions do not have; answers it and where it ends.
fn read_name(bytes: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        if length == 0 {
            return Some((name, at));
        }
        if length > 63 || name.len() + length > NAME_MAX {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        let label = bytes.get(at..at + length)?;
        name.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
        at += length;
    }
}

fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length if length >= 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
}

/// An answer that consists of a header.
fn refusal(header: &[u8], code: Code) -> Vec<u8> {
    let mut answer = vec![0; HEADER];
    answer[..2].copy_from_slice(&header[..2]);
    answer[2] = 0x80 | header[2] & 0x79;
    answer[3] = 0x80 | code as u8;
    answer
}

impl Query<'_> {
    /// Writes the answer for a stream.
    pub(crate) fn answer(&self, code: Code, records: &[Record]) -> Vec<u8> {
        self.write(code, records, usize::from(u16::MAX))
    }

    /// Writes the answer for a datagram; what does not fit is left out, and the client told to come by TCP.
    pub(crate) fn answer_datagram(&self, code: Code, records: &[Record]) -> Vec<u8> {
        let limit = self.datagram.map_or(DATAGRAM, |bytes| usize::from(bytes).clamp(DATAGRAM, DATAGRAM_MAX));
        self.write(code, records, limit)
    }

    fn write(&self, code: Code, records: &[Record], limit: usize) -> Vec<u8> {
        let mut answer = Vec::with_capacity(128);
        answer.extend_from_slice(&self.id);
        answer.push(0x80 | u8::from(self.recursion));
        answer.push(0x80 | code as u8);
        answer.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        answer.extend_from_slice(self.question);
        let reserved = if self.datagram.is_some() { 11 } else { 0 };
        let mut count: u16 = 0;
        for record in records {
            let start = answer.len();
            record.write(&mut answer);
            if answer.len() + reserved > limit {
                answer.truncate(start);
                answer[2] |= 0x02;
                break;
            }
            count += 1;
        }
        answer[6..8].copy_from_slice(&count.to_be_bytes());
        if self.datagram.is_some() {
            answer[11] = 1;
            answer.push(0);
            answer.extend_from_slice(&TYPE_OPT.to_be_bytes());
            answer.extend_from_slice(&u16::try_from(DATAGRAM_MAX).unwrap_or(u16::MAX).to_be_bytes());
            answer.extend_from_slice(&[0; 6]);
        }
        answer
    }

    /// The address whose name is asked for.
    pub(crate) fn reverse(&self) -> Option<IpAddr> {
        if let Some(digits) = self.name.strip_suffix(".in-addr.arpa") {
            let mut octets: Vec<u8> = digits.split('.').map(|octet| octet.parse().ok()).collect::<Option<_>>()?;
            octets.reverse();
            return <[u8; 4]>::try_from(octets).ok().map(|octets| Ipv4Addr::from(octets).into());
        }
        let digits = self.name.strip_suffix(".ip6.arpa")?;
        let nibbles: Vec<u128> = digits.split('.').rev().map(|digit| u128::from_str_radix(digit, 16).ok()).collect::<Option<_>>()?;
        let fits = nibbles.len() == 32 && nibbles.iter().all(|nibble| *nibble < 16);
        fits.then(|| Ipv6Addr::from(nibbles.iter().fold(0, |sum, nibble| (sum << 4) | nibble)).into())
    }
}

impl Record {
    fn write(&self, answer: &mut Vec<u8>) {
        let (kind, data) = match self {
            Self::Address(IpAddr::V4(address)) => (TYPE_A, address.octets().to_vec()),
            Self::Address(IpAddr::V6(address)) => (TYPE_AAAA, address.octets().to_vec()),
            Self::Name(name) => (TYPE_PTR, labels(name)),
        };
        answer.extend_from_slice(&POINTER);
        answer.extend_from_slice(&kind.to_be_bytes());
        answer.extend_from_slice(&CLASS_INTERNET.to_be_bytes());
        answer.extend_from_slice(&TTL.to_be_bytes());
        answer.extend_from_slice(&u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
        answer.extend_from_slice(&data);
    }
}

/// A name as labels; labels that are too long are cut.
pub(crate) fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(63)];
        bytes.push(u8::try_from(label.len()).unwrap_or(63));
        bytes.extend_from_slice(label);
    }
    bytes.push(0);
    bytes
}

/// Whether bytes are an answer to a query, both whole messages.
pub(crate) fn is_answer(answer: &[u8], query: &[u8]) -> bool {
    let question = |bytes: &[u8]| skip_name(bytes, HEADER).and_then(|end| bytes.get(HEADER..end + 4).map(<[u8]>::to_ascii_lowercase));
    answer.len() >= HEADER && answer[..2] == query[..2] && answer[2] & 0x80 != 0 && question(answer) == question(query)
}

/// Whether an answer says that its server could not or would not help.
pub(crate) fn is_failure(answer: &[u8]) -> bool {
    matches!(answer.get(3).map(|byte| byte & 0x0f), Some(2 | 5))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u16, size: Option<u16>) -> Vec<u8> {
        let mut bytes = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(size.is_some())];
        bytes.extend(labels(name));
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1]);
        if let Some(size) = size {
            bytes.extend([0, 0, 41]);
            bytes.extend(size.to_be_bytes());
            bytes.extend([0; 6]);
        }
        bytes
    }

    #[test]
    fn queries_are_read_and_answered() {
        let bytes = query("Web.Shop", TYPE_A, Some(1232));
        let read = parse(&bytes).unwrap();
        assert_eq!((read.name.as_str(), read.kind, read.datagram), ("web.shop", TYPE_A, Some(1232)));
        let answer = read.answer_datagram(Code::NoError, &[Record::Address("10.0.0.2".parse().unwrap())]);
        assert!(is_answer(&answer, &bytes) && !is_failure(&answer));
        assert_eq!(answer[6..8], [0, 1]);
        assert!(answer.windows(4).any(|window| window == [10, 0, 0, 2]));
        assert_eq!(&answer[12..22], &bytes[12..22], "the letters' cases are kept");
    }

    #[test]
    fn what_does_not_fit_is_cut_and_said() {
        let records: Vec<Record> = (0..100).map(|last| Record::Address(Ipv4Addr::new(10, 0, 0, last).into())).collect();
        let bytes = query("a", TYPE_A, None);
        let read = parse(&bytes).unwrap();
        let cut = read.answer_datagram(Code::NoError, &records);
        assert!(cut.len() <= 512 && cut[2] & 2 != 0);
        let whole = read.answer(Code::NoError, &records);
        assert!(whole[2] & 2 == 0 && whole[6..8] == [0, 100]);
    }

    #[test]
    fn names_of_addresses_are_understood() {
        let read = |name: &str| parse(&query(name, TYPE_PTR, None)).unwrap().reverse();
        assert_eq!(read("2.0.17.172.in-addr.arpa"), Some("172.17.0.2".parse().unwrap()));
        let six = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
        assert_eq!(read(six), Some("fd00::2".parse().unwrap()));
        assert_eq!(read("17.172.in-addr.arpa"), None);
        assert_eq!(read("example.org"), None);
    }

    #[test]
    fn what_is_no_question_is_refused() {
        let mut bytes = query("a", TYPE_A, None);
        bytes[2] |= 0x80;
        assert_eq!(parse(&bytes), Err(Vec::new()));
        bytes[2] = 0x28;
        assert_eq!(parse(&bytes).unwrap_err()[3] & 15, 4);
        assert_eq!(parse(&[0; 12]).unwrap_err()[3] & 15, 1);
        assert_eq!(parse(&[0; 5]), Err(Vec::new()));
    }

    proptest::proptest! {
        #[test]
        fn foreign_bytes_do_no_harm(bytes: Vec<u8>) {
            if let Ok(query) = parse(&bytes) {
                query.reverse();
                query.answer_datagram(Code::NoError, &[]);
            }
            is_failure(&bytes);
            is_answer(&bytes, &query("a", TYPE_A, None));
        }
    }
}
