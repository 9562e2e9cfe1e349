//! `man`: the manual, from the table that parses. **Source:** man-pages(7), groff_man(7).

use super::{Entry, global, lists, members};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Flag, Given, described};
use crate::printer;
use crate::words::Section;

pub(super) const ENTRIES: &[Entry] = &[Entry { command: described("man"), act: man }];

fn man(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let name = context.name.clone();
    let Some(folder) = given.args.first() else {
        printer::raw(overview(&name).as_bytes());
        return Ok(0);
    };
    let write = |page: &str, text: String| {
        let path = std::path::Path::new(folder).join(format!("{page}.1"));
        std::fs::write(&path, text).map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
    };
    std::fs::create_dir_all(folder).map_err(|error| Failure::new(format!("cannot create {folder}: {error}")))?;
    write(&name, overview(&name))?;
    for words in pages() {
        write(&format!("{name}-{}", words.replace(' ', "-")), page(&name, &words))?;
    }
    Ok(0)
}

/// Words of every command and group that is served.
fn pages() -> Vec<String> {
    let (groups, commands) = lists();
    let mut pages: Vec<String> = commands.into_iter().map(|(word, _)| word).collect();
    for (group, _) in groups {
        pages.extend(members(&group).into_iter().map(|(word, _)| format!("{group} {word}")));
        pages.push(group);
    }
    pages.sort_unstable();
    pages
}

/// Text that roff shows as it is.
fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    text.lines()
        .map(|line| if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() })
        .collect::<Vec<_>>()
        .join("\n.br\n")
}

fn head(title: &str, about: &str) -> String {
    let page = title.replace(' ', "-");
    format!(
        ".TH \"{}\" \"1\" \"\" \"teu {}\" \"User Commands\"\n.SH NAME\n{} \\- {}\n",
        plain(&page.to_uppercase()),
        env!("CARGO_PKG_VERSION"),
        plain(&page),
        plain(about.trim_end_matches('.'))
    )
}

fn flags(title: &str, flags: &[Flag]) -> String {
    let mut text = String::new();
    for flag in flags.iter().filter(|flag| !flag.hidden) {
        let short = if flag.short == '\0' { String::new() } else { format!("\\fB\\-{}\\fR, ", flag.short) };
        let value = if flag.value.is_empty() { String::new() } else { format!(" \\fI{}\\fR", plain(flag.value)) };
        text.push_str(&format!(".TP\n{short}\\fB\\-\\-{}\\fR{value}\n{}\n", plain(flag.long), plain(flag.help)));
        if let Some(why) = flag.refused {
            text.push_str(&format!("Refused: {}\n", plain(why)));
        }
    }
    if text.is_empty() { text } else { format!(".SH {title}\n{text}") }
}

/// The page of one command or group.
fn page(name: &str, words: &str) -> String {
    let title = format!("{name} {words}");
    let Some(found) = super::find(words) else {
        let about = crate::words::find(words).and_then(|section| section.about.first().copied()).unwrap_or_default();
        let mut text = head(&title, about) + &format!(".SH SYNOPSIS\n\\fB{}\\fR \\fICOMMAND\\fR\n.SH COMMANDS\n", plain(&title));
        for (word, about) in members(words) {
            text.push_str(&format!(".TP\n\\fB{}\\-{}\\fR(1)\n{}\n", plain(&title.replace(' ', "-")), plain(&word), plain(&about)));
        }
        return text;
    };
    let section = found.section.unwrap_or_else(|| Section {
        usages: vec![found.command.usage],
        names: vec![found.command.words],
        about: vec![found.command.about],
        ..Section::default()
    });
    let mut text = head(&title, section.about.first().copied().unwrap_or_default()) + ".SH SYNOPSIS\n";
    for usage in section.usages(words) {
        let rest = usage.strip_prefix(words).unwrap_or(&usage);
        text.push_str(&format!("\\fB{}\\fR{}\n.br\n", plain(&title), plain(rest)));
    }
    if section.names.len() > 1 {
        let names: Vec<String> = section.names.iter().map(|words| plain(&format!("{name} {words}"))).collect();
        text.push_str(&format!(".SH ALIASES\n{}\n", names.join(",\n")));
    }
    text.push_str(&format!(".SH DESCRIPTION\n{}\n", plain(&section.about.join("\n"))));
    text.push_str(&flags("OPTIONS", found.command.flags));
    if !section.examples.is_empty() {
        text.push_str(".SH EXAMPLES\n");
        for (why, words) in &section.examples {
            text.push_str(&format!(".PP\n{}:\n.PP\n.RS\n.nf\n{}\n.fi\n.RE\n", plain(why), plain(&format!("{name} {words}"))));
        }
    }
    text + &format!(".SH SEE ALSO\n\\fB{}\\fR(1)\n", plain(name))
}

fn overview(name: &str) -> String {
    let section = global::section();
    let about = section.about.first().copied().unwrap_or_default();
    let mut text = head(name, about);
    text.push_str(&format!(".SH SYNOPSIS\n\\fB{}\\fR [OPTIONS] \\fICOMMAND\\fR\n", plain(name)));
    text.push_str(".SH DESCRIPTION\nTakes the words of Docker's command line and speaks Docker's API to an engine, which it starts on demand on this machine.\n");
    text.push_str(&flags("OPTIONS", &section.flags));
    let (groups, commands) = lists();
    for (title, list) in [("MANAGEMENT COMMANDS", groups), ("COMMANDS", commands)] {
        text.push_str(&format!(".SH {title}\n"));
        for (word, about) in list {
            text.push_str(&format!(".TP\n\\fB{}\\-{}\\fR(1)\n{}\n", plain(name), plain(&word), plain(about.trim_end_matches('.'))));
        }
    }
    text.push_str(ENVIRONMENT);
    text
}

/// Variables and files that every command looks at.
const ENVIRONMENT: &str = ".SH ENVIRONMENT
.TP
\\fBDOCKER_HOST\\fR
The engine's socket; over it goes \\-\\-host.
.TP
\\fBDOCKER_CONTEXT\\fR
Name of the context to use.
.TP
\\fBDOCKER_CONFIG\\fR
Folder of config.json and the contexts, else ~/.docker.
.TP
\\fBDOCKER_API_VERSION\\fR
Version of the API to speak, without asking the engine.
.TP
\\fBNO_COLOR\\fR
No colours, whatever it says.
.SH EXIT STATUS
What the container's program ended with for \\fBrun\\fR, \\fBexec\\fR, \\fBstart \\-a\\fR and \\fBattach\\fR; 125 for wrong flags or an engine that refused, 126 and 127 for a program that cannot be run or found, 1 for every other failure.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let all = pages();
        for words in ["run", "container", "container run", "network create"] {
            assert!(all.iter().any(|page| page == words), "{words}");
        }
        let text = page("teu", "run");
        assert!(text.starts_with(".TH \"TEU\\-RUN\" \"1\""), "{text}");
        assert!(text.contains(".TP\n\\fB\\-e\\fR, \\fB\\-\\-env\\fR \\fIlist\\fR\nSet environment variables\n"));
        assert!(text.lines().all(|line| !line.starts_with('\'')));
    }
}
