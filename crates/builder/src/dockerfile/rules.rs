//! The rules of `--check`: their names, what they are for, and which of them a file wants.
//!
//! **Source:** Docker documentation, "Build checks".

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is the rule of that name, whose description says what it is for")]
pub enum Rule {
    ConsistentInstructionCasing,
    CopyIgnoredFile,
    DuplicateStageName,
    ExposeInvalidFormat,
    ExposeProtoCasing,
    FromAsCasing,
    FromPlatformFlagConstDisallowed,
    InvalidBaseImagePlatform,
    InvalidDefaultArgInFrom,
    InvalidDefinitionDescription,
    #[allow(clippy::upper_case_acronyms, reason = "the rule's name")]
    JSONArgsRecommended,
    LegacyKeyValueFormat,
    MaintainerDeprecated,
    MultipleInstructionsDisallowed,
    NoEmptyContinuation,
    RedundantTargetPlatform,
    ReservedStageName,
    SecretsUsedInArgOrEnv,
    StageNameCasing,
    UndefinedArgInFrom,
    UndefinedVar,
    WorkdirRelativePath,
}

impl Rule {
    /// Its name.
    #[must_use]
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// Where it is explained: the name in lower case, with a dash before each word.
    #[must_use]
    pub fn url(self) -> String {
        let name = self.name().replace("JSON", "Json");
        let mut words = String::new();
        for c in name.chars() {
            if c.is_ascii_uppercase() && !words.is_empty() {
                words.push('-');
            }
            words.push(c.to_ascii_lowercase());
        }
        format!("https://docs.docker.com/go/dockerfile/rule/{words}/")
    }

    /// What it is for.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            Self::ConsistentInstructionCasing => "All commands within the Dockerfile should use the same casing (either upper or lower)",
            Self::CopyIgnoredFile => "Attempting to Copy file that is excluded by .dockerignore",
            Self::DuplicateStageName => "Stage names should be unique",
            Self::ExposeInvalidFormat => {
                "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release"
            }
            Self::ExposeProtoCasing => "Protocol in EXPOSE instruction should be lowercase",
            Self::FromAsCasing => "The 'as' keyword should match the case of the 'from' keyword",
            Self::FromPlatformFlagConstDisallowed => "FROM --platform flag should not use a constant value",
            Self::InvalidBaseImagePlatform => "Base image platform does not match expected target platform",
            Self::InvalidDefaultArgInFrom => "Default value for global ARG results in an empty or invalid base image name",
            Self::InvalidDefinitionDescription => {
                "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment."
            }
            Self::JSONArgsRecommended => {
                "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals"
            }
            Self::LegacyKeyValueFormat => "Legacy key/value format with whitespace separator should not be used",
            Self::MaintainerDeprecated => "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
            Self::MultipleInstructionsDisallowed => "Multiple instructions of the same type should not be used in the same stage",
            Self::NoEmptyContinuation => "Empty continuation lines will become errors in a future release",
            Self::RedundantTargetPlatform => {
                "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior"
            }
            Self::ReservedStageName => "Reserved words should not be used as stage names",
            Self::SecretsUsedInArgOrEnv => "Sensitive data should not be used in the ARG or ENV commands",
            Self::StageNameCasing => "Stage names should be lowercase",
            Self::UndefinedArgInFrom => "FROM command must use declared ARGs",
            Self::UndefinedVar => "Variables should be defined before their use",
            Self::WorkdirRelativePath => {
                "Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes"
            }
        }
    }
}

/// Something that a rule found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: Rule,
    /// What it found.
    pub detail: String,
    /// First line of the instruction.
    pub line: usize,
    /// Last line of the instruction.
    pub end: usize,
}

/// Which rules a file wants, from its `check` directive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    skip: Vec<String>,
    experimental: Vec<String>,
    /// Whether a finding fails the build.
    pub(super) error: bool,
}

impl Wanted {
    /// Parses `skip=A,B;error=true;experimental=C`.
    ///
    /// # Errors
    /// A key or a value that there is not.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut wanted = Self::default();
        for option in text.split(';').map(str::trim).filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').ok_or_else(|| format!("invalid check option \"{option}\""))?;
            let list = || value.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
            match key.trim() {
                "skip" => wanted.skip = list(),
                "experimental" => wanted.experimental = list(),
                "error" => {
                    wanted.error = value
                        .trim()
                        .parse()
                        .map_err(|_| format!("failed to parse check option \"error\": \"{value}\" is not a boolean"))?;
                }
                other => return Err(format!("invalid check option \"{other}\"; use skip, error or experimental")),
            }
        }
        Ok(wanted)
    }

    /// Whether a rule is wanted for an instruction with these comments above it.
    pub(super) fn wants(&self, rule: Rule, comments: &[String]) -> bool {
        let name = rule.name().to_ascii_lowercase();
        let named = |list: &[String]| list.iter().any(|known| known == "all" || *known == name);
        if rule == Rule::InvalidDefinitionDescription {
            return named(&self.experimental);
        }
        // A comment above an instruction may skip rules for it alone; what follows two slashes says why.
        let here = comments.iter().filter_map(|comment| comment.strip_prefix("check="));
        let here = here.filter_map(|text| Self::parse(text.split("//").next().unwrap_or(text)).ok());
        !named(&self.skip) && !here.into_iter().any(|wanted| named(&wanted.skip))
    }
}
