//! The command line of a program that embeds the server: the flags that set something, as `roomcast serve` takes them.

use std::fmt;
use std::path::PathBuf;

use super::keys::SECTIONS;
use super::{Flag, Sources};

/// What a program was asked to do.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// Serve, with these settings.
    Serve(Box<Sources>),
    /// Say what can be asked.
    Help,
}

/// An argument that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A flag, what stands for its value where it takes one, and the key that it sets.
fn known() -> impl Iterator<Item = (&'static str, Option<&'static str>, String)> {
    SECTIONS.iter().flat_map(|section| {
        section.keys.iter().filter_map(|key| {
            let flag = key.flag?;
            let (name, value) = match flag.split_once(' ') {
                Some((name, value)) => (name, Some(value)),
                None => (flag, None),
            };
            Some((name, value, format!("{}.{}", section.name, key.name)))
        })
    })
}

/// Reads the arguments behind the program's name over what the process says otherwise.
///
/// # Errors
/// The first argument that is not known, or lacks its value.
pub(crate) fn read(
    mut sources: Sources,
    arguments: impl IntoIterator<Item = String>,
) -> Result<Asked, Usage> {
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let (name, written) = match argument.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        let mut value = |written: Option<String>| {
            let value = written.or_else(|| arguments.next());
            value.ok_or_else(|| Usage(format!("{name} lacks its value")))
        };
        match &*name {
            "--help" | "-h" => return Ok(Asked::Help),
            "--config" => sources.file = Some(PathBuf::from(value(written)?)),
            "--set" => {
                let value = value(written)?;
                let Some((key, value)) = value.split_once('=') else {
                    return Err(Usage(
                        "write --set KEY=VALUE, such as limits.max_rooms=8".to_owned(),
                    ));
                };
                add(&mut sources, &name, key.trim(), value.trim().to_owned());
            }
            _ => {
                let found = known().find(|(known, ..)| *known == name);
                let Some((_, placeholder, key)) = found else {
                    return Err(Usage(format!(
                        "unknown argument {name:?}; --help lists all"
                    )));
                };
                let value = match placeholder {
                    Some(_) => value(written)?,
                    None => written.unwrap_or_else(|| "true".to_owned()),
                };
                add(&mut sources, &name, &key, value);
            }
        }
    }
    // Those that name a key win over `--set`, as with `roomcast serve`.
    sources.flags.sort_by_key(|flag| flag.name != "--set");
    Ok(Asked::Serve(Box::new(sources)))
}

/// A flag that is given several times makes a list.
fn add(sources: &mut Sources, name: &str, key: &str, value: String) {
    let same = sources
        .flags
        .iter_mut()
        .find(|flag| flag.name == name && name != "--set");
    match same {
        Some(flag) => flag.values.push(value),
        None => sources.flags.push(Flag {
            name: name.to_owned(),
            key: key.to_owned(),
            values: vec![value],
        }),
    }
}

/// What `--help` says.
pub(crate) fn help() -> String {
    let mut text = String::from(
        "Settings, over those of ROOMCAST_ variables and of roomcast.toml:\n  --config FILE\n",
    );
    for (name, value, key) in known() {
        let flag = value.map_or_else(|| name.to_owned(), |value| format!("{name} {value}"));
        text.push_str(&format!("  {flag:<24} {key}\n"));
    }
    text.push_str("  --set KEY=VALUE          any key, such as limits.max_rooms=8\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(arguments: &[&str]) -> Result<Vec<(String, String, Vec<String>)>, String> {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        match read(Sources::default(), arguments) {
            Ok(Asked::Serve(sources)) => Ok(sources
                .flags
                .into_iter()
                .map(|flag| (flag.name, flag.key, flag.values))
                .collect()),
            Ok(Asked::Help) => Err("help".to_owned()),
            Err(usage) => Err(usage.to_string()),
        }
    }

    #[test]
    fn flags_become_settings() {
        let read = flags(&[
            "--listen",
            "127.0.0.1:1",
            "--shards=2",
            "--set",
            "limits.burst = 7",
            "--public-demo",
            "--listen=[::1]:2",
        ])
        .unwrap();
        let expected = [
            ("--set", "limits.burst", &["7"][..]),
            ("--listen", "server.listen", &["127.0.0.1:1", "[::1]:2"]),
            ("--shards", "server.shards", &["2"]),
            ("--public-demo", "server.public_demo", &["true"]),
        ];
        let read: Vec<(&str, &str, Vec<&str>)> = read
            .iter()
            .map(|(name, key, values)| (&**name, &**key, values.iter().map(|it| &**it).collect()))
            .collect();
        assert_eq!(
            read,
            expected.map(|(name, key, values)| (name, key, values.to_vec()))
        );
    }

    #[test]
    fn nothing_is_ignored() {
        for (arguments, wrong) in [
            (
                &["--listn", "x"][..],
                "unknown argument \"--listn\"; --help lists all",
            ),
            (&["serve"], "unknown argument \"serve\"; --help lists all"),
            (&["--listen"], "--listen lacks its value"),
            (
                &["--set", "x"],
                "write --set KEY=VALUE, such as limits.max_rooms=8",
            ),
            (&["--shards", "1", "--help"], "help"),
        ] {
            assert_eq!(flags(arguments), Err(wrong.to_owned()));
        }
    }
}
