//! From the sources to a checked [`Config`]: defaults, then the file, the environment, the flags.

use std::collections::BTreeMap;
use std::path::PathBuf;

use roomcast_core::settings::Kind;

use super::file::{self, Entry};
use super::keys::{self, Found, Key, Named};
use super::raw::Raw;
use super::source::{Problem, Problems, Source};
use super::{
    ApiKey, AuthorizeSettings, Config, WebhookSettings, check, environment, items, suggest,
};

/// Where a configuration is read from. The default reads nothing.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file; it must be there.
    pub file: Option<PathBuf>,
    /// The file to read where [`Sources::file`] is `None`, if it is there.
    pub usual_file: Option<PathBuf>,
    /// Environment variables.
    pub environment: Vec<(String, String)>,
    /// What flags of the command line set; the last one wins.
    pub flags: Vec<Flag>,
}

/// What a flag of the command line sets.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The flag, for messages: `--listen`.
    pub name: String,
    /// The key: `server.listen`.
    pub key: String,
    /// Its values: several for a list.
    pub values: Vec<String>,
}

impl Sources {
    /// This process's environment with `roomcast.toml` in its working directory, or the file that `ROOMCAST_CONFIG`
    /// names.
    pub fn of_process() -> Sources {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let environment: Vec<(String, String)> = std::env::vars_os()
            .map(|(name, value)| (text(name), text(value)))
            .collect();
        let named = environment
            .iter()
            .find(|(name, value)| name == environment::CONFIG && !value.is_empty());
        Sources {
            file: named.map(|(_, value)| PathBuf::from(value)),
            usual_file: Some(PathBuf::from("roomcast.toml")),
            environment,
            flags: Vec::new(),
        }
    }
}

/// A configuration with where it is from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// What should be said, and is no error.
    pub warnings: Vec<String>,
    pub(super) sources: BTreeMap<String, Source>,
}

impl Loaded {
    /// Where the value of a key is from, such as `limits.burst`.
    pub fn source(&self, key: &str) -> &Source {
        self.sources.get(key).unwrap_or(&Source::Default)
    }
}

impl Config {
    /// Reads all sources and checks the outcome, before anything is opened.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first thing.
    pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
        let mut problems = Vec::new();
        let (file, mut entries) = read_file(sources, &mut problems);
        entries.extend(environment::read(&sources.environment, &mut problems));
        entries.extend(sources.flags.iter().map(entry_of_flag));
        let config = Config::default();
        let mut loaded = Loaded {
            config,
            file,
            warnings: Vec::new(),
            sources: BTreeMap::new(),
        };
        apply(&mut loaded, &entries, &mut problems);
        check::check(&mut loaded, &mut problems);
        if problems.is_empty() {
            Ok(loaded)
        } else {
            Err(Problems(problems))
        }
    }
}

fn read_file(sources: &Sources, problems: &mut Vec<Problem>) -> (Option<PathBuf>, Vec<Entry>) {
    let usual = || sources.usual_file.clone().filter(|path| path.exists());
    let Some(path) = sources.file.clone().or_else(usual) else {
        return (None, Vec::new());
    };
    let name = path.display().to_string();
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let entries = file::read(&name, &text, problems);
            (Some(path), entries)
        }
        Err(error) => {
            let source = Source::File {
                path: name,
                line: 0,
            };
            problems.push(Problem {
                source,
                message: format!("cannot read this file: {error}"),
            });
            (Some(path), Vec::new())
        }
    }
}

fn entry_of_flag(flag: &Flag) -> Entry {
    let value = match &*flag.values {
        [value] => Raw::Plain(value.clone()),
        values => Raw::List(values.iter().cloned().map(Raw::Plain).collect()),
    };
    Entry {
        path: flag.key.split('.').map(str::to_owned).collect(),
        value: Some(value),
        source: Source::Flag(flag.name.clone()),
    }
}

/// Applies all entries in order. Kinds come last and `default` first among them, as the others begin with its settings.
fn apply(loaded: &mut Loaded, entries: &[Entry], problems: &mut Vec<Problem>) {
    let mut kinds: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        match &*entry.path {
            [table, _, ..] if keys::named_tables().any(|(named, _)| named == table) => {}
            [kinds_table, kind, ..] if kinds_table == "kinds" => {
                kinds.entry(kind).or_default().push(entry);
            }
            _ => apply_one(loaded, entry, problems),
        }
    }
    for entry in kinds.remove("default").unwrap_or_default() {
        let mut default = loaded.config.kinds.swap_remove(0);
        apply_to_kind(&mut default, entry, &mut loaded.sources, problems);
        loaded.config.kinds.insert(0, default);
    }
    let default = loaded.config.kinds.first().cloned().unwrap_or_default();
    for (name, entries) in kinds {
        let mut kind = Kind {
            name: name.to_owned(),
            ..default.clone()
        };
        if let (Err(wrong), Some(first)) = (items::kind_name(name), entries.first()) {
            let message = format!("the name of the kind {name:?} {wrong}");
            problems.push(Problem {
                source: first.source.clone(),
                message,
            });
            continue;
        }
        for entry in entries {
            apply_to_kind(&mut kind, entry, &mut loaded.sources, problems);
        }
        loaded.config.kinds.push(kind);
    }
    apply_named::<ApiKey>(loaded, entries, problems);
    apply_named::<WebhookSettings>(loaded, entries, problems);
    apply_named::<AuthorizeSettings>(loaded, entries, problems);
}

/// Applies what is about tables that somebody gave a name.
fn apply_named<T: Named>(loaded: &mut Loaded, entries: &[Entry], problems: &mut Vec<Problem>) {
    let mut by_name: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in entries {
        if let [table, name, ..] = &*entry.path
            && table == T::TABLE
        {
            by_name.entry(name).or_default().push(entry);
        }
    }
    for (name, entries) in by_name {
        let mut target = T::named(name);
        if let (Err(wrong), Some(first)) = (items::table_name(name), entries.first()) {
            let message = format!("the name of the {} {name:?} {wrong}", T::WHAT);
            problems.push(Problem {
                source: first.source.clone(),
                message,
            });
            continue;
        }
        for entry in entries {
            let Some(value) = &entry.value else { continue };
            let key = match &*entry.path {
                [_, _, name] => T::keys().iter().find(|key| key.name == name),
                _ => None,
            };
            let outcome = match key {
                Some(key) => set(key, &mut target, &entry.path, value),
                None => Err(unknown(&entry.path, value)),
            };
            note(outcome, entry, &mut loaded.sources, problems);
        }
        T::all(&mut loaded.config).push(target);
    }
}

fn apply_one(loaded: &mut Loaded, entry: &Entry, problems: &mut Vec<Problem>) {
    let Some(value) = &entry.value else { return };
    let config = &mut loaded.config;
    let outcome = match keys::find(&entry.path) {
        Some(Found::Global(key)) => set(key, config, &entry.path, value),
        _ => Err(unknown(&entry.path, value)),
    };
    note(outcome, entry, &mut loaded.sources, problems);
}

fn apply_to_kind(
    kind: &mut Kind,
    entry: &Entry,
    sources: &mut BTreeMap<String, Source>,
    problems: &mut Vec<Problem>,
) {
    let Some(value) = &entry.value else { return };
    let outcome = match keys::find(&entry.path) {
        Some(Found::OfKind(key)) => set(key, kind, &entry.path, value),
        _ => Err(unknown(&entry.path, value)),
    };
    note(outcome, entry, sources, problems);
}

fn note(
    outcome: Result<(), String>,
    entry: &Entry,
    sources: &mut BTreeMap<String, Source>,
    problems: &mut Vec<Problem>,
) {
    let source = entry.source.clone();
    match outcome {
        Ok(()) => {
            sources.insert(entry.path.join("."), source);
        }
        Err(message) => problems.push(Problem { source, message }),
    }
}

pub(super) fn set<T>(
    key: &Key<T>,
    target: &mut T,
    path: &[String],
    value: &Raw,
) -> Result<(), String>
where
    T: Default,
{
    key.field.set(target, value).map_err(|wrong| {
        let path = path.join(".");
        let shown = if key.secret {
            "(not shown)".to_owned()
        } else {
            value.to_string()
        };
        let (takes, default) = (key.field.takes(), key.field.show(&mut T::default()));
        format!("{path} = {shown} {wrong}: it takes {takes}; the default is {default}")
    })
}

/// Says that there is no such key, and which one may be meant.
fn unknown(path: &[String], value: &Raw) -> String {
    let name = path.join(".");
    if keys::is_table(path) {
        return format!("{name} is a table: write its keys below [{name}]");
    }
    if matches!(value, Raw::Other(_)) {
        let sections = keys::SECTIONS
            .iter()
            .map(|section| section.name)
            .chain(["kinds"])
            .chain(keys::named_tables().map(|(table, _)| table));
        return match suggest::closest(&name, sections) {
            Some(close) => format!("unknown table [{name}]; did you mean [{close}]?"),
            None => format!("unknown table [{name}]"),
        };
    }
    match suggest::path(path) {
        Some(close) => format!("unknown key {name}; did you mean {close}?"),
        None => format!("unknown key {name}"),
    }
}
