//! The instructions of a file by stages, and which stages need which.

use std::collections::BTreeSet;

use super::super::lines::Logical;
use super::super::{Copy, Instruction};

/// An instruction and its line.
pub(super) type Parsed<'a> = (&'a Logical, Instruction);

/// The file cut into its stages.
pub(super) struct Stages<'a> {
    pub(super) global: Vec<&'a Parsed<'a>>,
    pub(super) stages: Vec<Vec<&'a Parsed<'a>>>,
}

impl<'a> Stages<'a> {
    pub(super) fn of(all: &'a [Parsed<'a>]) -> Self {
        let mut file = Self { global: Vec::new(), stages: Vec::new() };
        for one in all {
            match (&one.1, file.stages.last_mut()) {
                (Instruction::From { .. }, _) => file.stages.push(vec![one]),
                (_, Some(stage)) => stage.push(one),
                (_, None) => file.global.push(one),
            }
        }
        file
    }

    pub(super) fn find(&self, name: &str, before: usize) -> Option<usize> {
        let named = |stage: &Vec<&Parsed<'_>>| matches!(&stage[0].1, Instruction::From { name: Some(known), .. } if known.eq_ignore_ascii_case(name));
        self.stages[..before].iter().rposition(named).or_else(|| name.parse().ok().filter(|index| *index < before))
    }

    /// The stages that a target needs, itself included.
    pub(super) fn needed(&self, target: usize, found: &mut BTreeSet<usize>) {
        if !found.insert(target) {
            return;
        }
        for (_, instruction) in &self.stages[target] {
            let mut names = Vec::new();
            match instruction {
                Instruction::From { base, .. } => names.push(base.clone()),
                Instruction::Copy(Copy { from: Some(from), .. }) => names.push(from.clone()),
                Instruction::Run(run) => names.extend(run.mounts.iter().filter_map(|mount| mount.options.get("from").cloned())),
                _ => {}
            }
            for other in names.iter().filter_map(|name| self.find(name, target)) {
                self.needed(other, found);
            }
        }
    }
}
