//! Users and groups by the container's own files.

use oci::runtime::User;

use crate::error::UserError;

/// Largest id. **Source:** moby/sys, `user`, `maxID`.
const ID_MAX: u32 = i32::MAX.unsigned_abs();

/// Reads `/etc/passwd` and `/etc/group` of a container; an absent file is empty.
pub(crate) trait Files {
    /// The text of one of them.
    fn read(&self, path: &'static str) -> Result<String, UserError>;
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn accounts(text: &str) -> impl Iterator<Item = Account<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        Some(Account { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home: fields.nth(1).unwrap_or("/") })
    })
}

fn groups(text: &str) -> impl Iterator<Item = Group<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
        Some(Group { name, gid: gid.parse().ok()?, members: fields.next().unwrap_or("") })
    })
}

/// A number, if it is one.
fn number(text: &str) -> Result<Option<u32>, UserError> {
    match text.parse::<i64>() {
        Err(_) => Ok(None),
        Ok(id) => match u32::try_from(id) {
            Ok(id) if id <= ID_MAX => Ok(Some(id)),
            Ok(_) | Err(_) => Err(UserError::Range),
        },
    }
}

/// Who a process is, and where its home is.
///
/// **Source:** moby, `daemon/oci_linux.go`, `getUser`; moby/sys, `user.GetExecUser`.
///
/// # Errors
/// A name that the files do not have, or a number out of range.
pub(crate) fn resolve(files: &dyn Files, user: &str, group_add: &[String]) -> Result<(User, String), UserError> {
    let (name, group) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|g| !g.is_empty())),
        None => (user, None),
    };
    // The common case needs no user file but for the home directory and the groups.
    let passwd = files.read("/etc/passwd")?;
    let group_file = files.read("/etc/group")?;
    let wanted = number(name)?;
    let found = accounts(&passwd).find(|a| {
        let by_name = a.name == name && !name.is_empty();
        by_name || Some(a.uid) == wanted || (name.is_empty() && a.uid == 0)
    });
    let (uid, mut gid, home, known) = match (&found, wanted) {
        (Some(a), _) => (a.uid, a.gid, a.home, Some(a.name)),
        (None, Some(uid)) => (uid, 0, "/", None),
        (None, None) if name.is_empty() => (0, 0, "/", None),
        (None, None) => return Err(UserError::User(name.to_owned())),
    };
    let mut additional = Vec::new();
    match group {
        Some(group) => gid = find_group(&group_file, group)?,
        // Membership counts only if no group was named.
        None => {
            let member = |g: &Group<'_>| g.members.split(',').any(|m| Some(m) == known);
            additional.extend(groups(&group_file).filter(member).map(|g| g.gid));
        }
    }
    for group in group_add {
        additional.push(find_group(&group_file, group)?);
    }
    // The own group first, as Docker has it since CVE-2022-36109.
    additional.retain(|other| *other != gid);
    additional.insert(0, gid);
    let mut seen = std::collections::BTreeSet::new();
    additional.retain(|gid| seen.insert(*gid));
    let user = User { uid, gid, umask: None, additional_gids: additional };
    let home = if home.is_empty() { "/" } else { home };
    Ok((user, home.to_owned()))
}

fn find_group(text: &str, group: &str) -> Result<u32, UserError> {
    let wanted = number(group)?;
    let found = groups(text).find(|g| g.name == group || Some(g.gid) == wanted);
    match (found, wanted) {
        (Some(g), _) => Ok(g.gid),
        (None, Some(gid)) => Ok(gid),
        (None, None) => Err(UserError::Group(group.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Texts;
    impl Files for Texts {
        fn read(&self, path: &'static str) -> Result<String, UserError> {
            Ok(match path {
                "/etc/passwd" => "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/var/www:\nbad line\n",
                _ => "root:x:0:\nwww:x:33:\naudio:x:29:web,other\nadm:x:4:root\n",
            }
            .to_owned())
        }
    }

    fn of(user: &str, groups: &[&str]) -> Result<(u32, u32, Vec<u32>, String), UserError> {
        let groups: Vec<String> = groups.iter().map(|g| (*g).to_owned()).collect();
        resolve(&Texts, user, &groups).map(|(u, home)| (u.uid, u.gid, u.additional_gids, home))
    }

    #[test]
    fn names_numbers_and_groups() {
        assert_eq!(of("", &[]), Ok((0, 0, vec![0, 4], "/root".to_owned())));
        assert_eq!(of("web", &[]), Ok((33, 33, vec![33, 29], "/var/www".to_owned())));
        assert_eq!(of("web:adm", &[]), Ok((33, 4, vec![4], "/var/www".to_owned())));
        assert_eq!(of("1000:50", &["audio", "77"]), Ok((1000, 50, vec![50, 29, 77], "/".to_owned())));
        assert_eq!(of("1000", &[]), Ok((1000, 0, vec![0], "/".to_owned())));
        assert_eq!(of("nosuch", &[]).unwrap_err().to_string(), "unable to find user nosuch: no matching entries in passwd file");
        assert_eq!(of("root:nosuch", &[]).unwrap_err().to_string(), "unable to find group nosuch: no matching entries in group file");
        assert_eq!(of("-1", &[]), Err(UserError::Range));
        assert_eq!(of("4294967295", &[]), Err(UserError::Range));
    }
}
