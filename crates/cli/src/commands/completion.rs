//! Completion scripts: short ones that ask `__complete` for the words, so that all three shells know the same.

use super::Entry;
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::printer;

pub(super) const ENTRIES: &[Entry] = &[Entry { command: described("completion"), act: completion }];

const BASH: &str = r#"# bash completion of @NAME@
_@NAME@() {
  local line="${COMP_LINE:0:COMP_POINT}" current directive candidate strip
  local -a words lines
  read -ra words <<<"$line"
  [[ "$line" == *[[:space:]] ]] && words+=("")
  current="${words[${#words[@]}-1]}"
  mapfile -t lines < <(@NAME@ __complete "${words[@]:1}" 2>/dev/null)
  [ "${#lines[@]}" -gt 0 ] || return
  directive="${lines[${#lines[@]}-1]#:}"
  unset "lines[${#lines[@]}-1]"
  # bash itself breaks words at colons and equals signs: what stands before them is kept.
  strip="${current%"${current##*[:=]}"}"
  COMPREPLY=()
  for candidate in "${lines[@]}"; do
    candidate="${candidate%%$'\t'*}"
    [[ "$candidate" == "$current"* ]] && COMPREPLY+=("${candidate#"$strip"}")
  done
  ((directive & 2)) && compopt -o nospace 2>/dev/null
  ((directive & 4)) || [ "${#COMPREPLY[@]}" -gt 0 ] || compopt -o default 2>/dev/null
}
complete -F _@NAME@ @NAME@
"#;

const ZSH: &str = r#"#compdef @NAME@
_@NAME@() {
  local -a lines described
  local directive line
  lines=("${(@f)$(@NAME@ __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  directive="${lines[-1]#:}"
  for line in "${(@)lines[1,-2]}"; do
    described+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
  done
  if (( ${#described} )); then
    if (( directive & 2 )); then _describe -t words '@NAME@' described -S ''; else _describe -t words '@NAME@' described; fi
  elif (( ! (directive & 4) )); then
    _files
  fi
}
if [ "$funcstack[1]" = "_@NAME@" ]; then _@NAME@ "$@"; else compdef _@NAME@ @NAME@; fi
"#;

const FISH: &str = r#"# fish completion of @NAME@
function __@NAME@_complete
  set -l words (commandline -opc)
  set -l current (commandline -ct)
  set -e words[1]
  set -l lines (@NAME@ __complete $words "$current" 2>/dev/null)
  if test (count $lines) -le 1
    string match -q ':4' -- $lines; or __fish_complete_path "$current"
    return
  end
  printf '%s\n' $lines[1..-2]
end
complete -c @NAME@ -e
complete -c @NAME@ -f -a '(__@NAME@_complete)'
"#;

fn completion(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let script = match given.args[0].as_str() {
        "bash" => BASH,
        "zsh" => ZSH,
        "fish" => FISH,
        other => return Err(Failure::new(format!("unknown shell `{other}`: bash, zsh or fish"))),
    };
    printer::raw(script.replace("@NAME@", &context.name).as_bytes());
    Ok(0)
}
