//! Names for containers that were given none: an adjective and a surname of computing.

use crate::id::{ContainerName, random};

const ADJECTIVES: [&str; 64] = [
    "able", "amber", "awake", "bold", "brave", "breezy", "bright", "brisk", "calm", "candid", "careful", "cheery", "civil", "clear",
    "clever", "cosy", "crisp", "curious", "daring", "deft", "eager", "early", "earnest", "easy", "fair", "fearless", "fleet", "fluent",
    "fond", "frank", "fresh", "gentle", "glad", "golden", "grand", "handy", "hardy", "honest", "humble", "jolly", "keen", "kind", "lively",
    "lucid", "lucky", "merry", "mild", "modest", "neat", "nimble", "patient", "plucky", "polite", "proud", "quick", "quiet", "ready",
    "serene", "sharp", "steady", "sunny", "tidy", "warm", "witty",
];
const SURNAMES: [&str; 64] = [
    "allen",
    "babbage",
    "backus",
    "bartik",
    "bemer",
    "boole",
    "borg",
    "brooks",
    "cerf",
    "church",
    "clarke",
    "codd",
    "conway",
    "cook",
    "cray",
    "dahl",
    "dijkstra",
    "eckert",
    "engelbart",
    "estrin",
    "feinler",
    "floyd",
    "godel",
    "goldberg",
    "goldstine",
    "gray",
    "hamilton",
    "hamming",
    "hoare",
    "holberton",
    "hopper",
    "huffman",
    "iverson",
    "jennings",
    "johnson",
    "kahn",
    "karp",
    "kay",
    "keller",
    "kernighan",
    "kilburn",
    "knuth",
    "lamport",
    "lehmer",
    "liskov",
    "lovelace",
    "mauchly",
    "mccarthy",
    "meltzer",
    "metcalfe",
    "milner",
    "minsky",
    "naur",
    "newell",
    "perlis",
    "perlman",
    "ritchie",
    "sammet",
    "shannon",
    "spence",
    "thompson",
    "turing",
    "wilkes",
    "wirth",
];

/// Makes up a name; from the fourth attempt on with a number, so that a free one is found.
pub(crate) fn make_up(attempt: u32) -> Option<ContainerName> {
    let [one, two, three, four] = random::<4>();
    let pick = |list: &[&'static str; 64], byte: u8| list.get(usize::from(byte) % 64).copied();
    let (adjective, surname) = (pick(&ADJECTIVES, one)?, pick(&SURNAMES, two)?);
    let name = match attempt {
        0..=2 => format!("{adjective}_{surname}"),
        _ => format!("{adjective}_{surname}{}", u16::from_be_bytes([three, four])),
    };
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_names() {
        for attempt in 0..200 {
            assert!(super::make_up(attempt % 8).is_some());
        }
        let mut sorted = super::SURNAMES;
        sorted.sort_unstable();
        assert_eq!(sorted, super::SURNAMES);
    }
}
