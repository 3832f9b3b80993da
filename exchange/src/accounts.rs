//! Who may trade here: accounts and the API keys by which they sign, from a TOML file or from flags.
//!
//! Invariants: a key belongs to one account; no secret is ever shown, in an error neither; a file of which anything is wrong is
//! refused whole, with the line and the field.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

use quorate_binance_api::signing::Secret;
use quorate_domain::Account;
use serde::Deserialize;
use toml::Spanned;

use crate::malformed::{Malformed, line_of, malformed};

/// Characters of a key at most: as many as Binance's have.
const KEY_MAX: usize = 64;
/// Characters of a secret at most.
const SECRET_MAX: usize = 128;

/// The accounts that may trade, by their keys.
#[derive(Clone, Default)]
pub struct Accounts {
    keys: BTreeMap<String, Access>,
    limited: BTreeSet<Account>,
}

/// What a key opens.
#[derive(Clone)]
pub struct Access {
    /// The account.
    pub account: Account,
    /// Signs.
    pub secret: Secret,
    /// What it may be used for.
    pub permissions: BTreeSet<Permission>,
}

/// What a key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// To look at the account's orders.
    Read,
    /// To place and to cancel orders.
    Trade,
    /// To tell external reference prices. No key may do this and trade: who trades must not say at what price.
    Feed,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.keys).finish()
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.account, self.permissions)
    }
}

/// Why a file of accounts is refused.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAccounts {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something in it is wrong.
    #[error("{}, line {line}, {field}: {what}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The field.
        field: String,
        /// What is wrong with it.
        what: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    account: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: Spanned<String>,
    /// `limited`: it pays with what it has. `open`: it may go below 0.
    balances: Option<Spanned<String>>,
    #[serde(default)]
    key: Vec<Key>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Key {
    api_key: Spanned<String>,
    secret: Spanned<String>,
    permissions: Spanned<Vec<Permission>>,
}

impl Accounts {
    /// One account with one key, which may be used to look and to trade.
    #[must_use]
    pub fn one(account: Account, key: String, secret: Secret) -> Self {
        let permissions = BTreeSet::from([Permission::Read, Permission::Trade]);
        let keys = BTreeMap::from([(key, Access { account, secret, permissions })]);
        Self { keys, limited: BTreeSet::new() }
    }

    /// Reads a file of accounts.
    ///
    /// # Errors
    /// Where it cannot be read, or anything in it is wrong.
    pub fn read(path: &Path) -> Result<Self, InvalidAccounts> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| InvalidAccounts::Unreadable { path: path.to_owned(), source })?;
        parse(&text).map_err(|Wrong { at, field, what }| InvalidAccounts::Wrong {
            path: path.to_owned(),
            line: line_of(&text, at),
            field,
            what,
        })
    }

    /// What a key opens.
    #[must_use]
    pub fn access(&self, key: &str) -> Option<&Access> {
        self.keys.get(key)
    }

    /// All of them.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&Account> {
        self.keys.values().map(|access| &access.account).collect()
    }

    /// Those that may not go below 0.
    #[must_use]
    pub fn limited(&self) -> &BTreeSet<Account> {
        &self.limited
    }

    /// How many accounts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// What is wrong, and where in the text.
struct Wrong {
    at: usize,
    field: String,
    what: String,
}

fn wrong(field: &str, at: usize, what: impl fmt::Display) -> Wrong {
    Wrong { at, field: field.to_owned(), what: what.to_string() }
}

fn parse(text: &str) -> Result<Accounts, Wrong> {
    let file: File = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let Malformed { field, what, .. } = malformed(text, &error);
        Wrong { at, field, what }
    })?;
    if file.account.is_empty() {
        return Err(wrong("account", text.len(), "there is no [[account]]"));
    }
    let (mut accounts, mut names) = (Accounts::default(), BTreeSet::new());
    for row in file.account {
        let name_at = row.name.span().start;
        let account = Account::new(row.name.get_ref()).map_err(|error| wrong("name", name_at, error))?;
        if !names.insert(account.clone()) {
            return Err(wrong("name", name_at, format!("the account {account} stands twice")));
        }
        if is_limited(row.balances.as_ref())? {
            accounts.limited.insert(account.clone());
        }
        if row.key.is_empty() {
            return Err(wrong("key", name_at, format!("the account {account} has no [[account.key]]")));
        }
        for key in row.key {
            add(&mut accounts, &account, key)?;
        }
    }
    Ok(accounts)
}

fn is_limited(balances: Option<&Spanned<String>>) -> Result<bool, Wrong> {
    match balances.map(|balances| (balances.get_ref().as_str(), balances.span().start)) {
        None | Some(("open", _)) => Ok(false),
        Some(("limited", _)) => Ok(true),
        Some((other, at)) => Err(wrong("balances", at, format!("'{other}' is not open or limited"))),
    }
}

fn add(accounts: &mut Accounts, account: &Account, key: Key) -> Result<(), Wrong> {
    let (key_at, secret_at) = (key.api_key.span().start, key.secret.span().start);
    let (api_key, secret) = (key.api_key.into_inner(), key.secret.into_inner());
    if !is_key(&api_key) {
        let what = format!("must be 1 to {KEY_MAX} letters, digits, '-', '_' or '.'");
        return Err(wrong("api-key", key_at, what));
    }
    if !(1..=SECRET_MAX).contains(&secret.len()) || !secret.bytes().all(|c| c.is_ascii_graphic()) {
        let what = format!("must be 1 to {SECRET_MAX} visible ASCII characters");
        return Err(wrong("secret", secret_at, what));
    }
    let (at, given) = (key.permissions.span().start, key.permissions.into_inner());
    let permissions: BTreeSet<Permission> = given.iter().copied().collect();
    if permissions.is_empty() || permissions.len() < given.len() {
        return Err(wrong("permissions", at, "must have read, trade, both, or feed, each once"));
    }
    if permissions.contains(&Permission::Feed) && permissions.contains(&Permission::Trade) {
        return Err(wrong("permissions", at, "a key that feeds prices may not trade: give the two a key each"));
    }
    let access = Access { account: account.clone(), secret: secret.into(), permissions };
    match accounts.keys.insert(api_key, access) {
        None => Ok(()),
        Some(other) => Err(wrong("api-key", key_at, format!("the account {} has this key already", other.account))),
    }
}

fn is_key(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    (1..=KEY_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A";
    const GOOD: &str = r#"
[[account]]
name = "alice"
balances = "open"
[[account.key]]
api-key = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
secret = "hush"
permissions = ["read", "trade"]
[[account.key]]
api-key = "watcher"
secret = "hush2"
permissions = ["read"]

[[account]]
name = "bob"
balances = "limited"
[[account.key]]
api-key = "bobs"
secret = "hush3"
permissions = ["trade"]
"#;

    fn refused(text: &str) -> String {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("accounts.toml");
        std::fs::write(&path, text).expect("written");
        let error = Accounts::read(&path).map(|_| ()).expect_err("refused").to_string();
        error.split_once("accounts.toml, ").expect("names the file").1.to_owned()
    }

    #[test]
    fn a_file_says_whose_each_key_is_and_what_it_is_for() {
        let accounts = parse(GOOD).map_err(|wrong| wrong.what).expect("valid");
        assert_eq!((KEY.len(), accounts.len()), (64, 2));
        let access = |key: &str| {
            let access = accounts.access(key)?;
            Some((access.account.to_string(), access.secret.clone(), access.permissions.len()))
        };
        assert_eq!(access(KEY), Some(("alice".into(), Secret::from("hush"), 2)));
        assert_eq!(access("watcher"), Some(("alice".into(), Secret::from("hush2"), 1)));
        assert_eq!(access("bobs"), Some(("bob".into(), Secret::from("hush3"), 1)));
        assert_eq!(access("alice"), None);
        assert_eq!(accounts.limited().iter().map(Account::as_str).collect::<Vec<_>>(), ["bob"]);
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_line_and_its_field() {
        let table = [
            (GOOD.replace("\"alice\"", "\"al ice\""), "line 3, name: "),
            (GOOD.replace("\"alice\"", "7"), "line 3, name: "),
            (GOOD.replace("\"bob\"", "\"alice\""), "line 15, name: the account alice stands twice"),
            (GOOD.replace("\"open\"", "\"endless\""), "line 4, balances: 'endless' is not open or limited"),
            (GOOD.replace("\"open\"", "7"), "line 4, balances: "),
            (GOOD.replace("\"watcher\"", "\"bobs\""), "line 18, api-key: the account alice has this key already"),
            (GOOD.replace("\"watcher\"", "\"\""), "line 10, api-key: "),
            (GOOD.replace("\"watcher\"", &format!("\"{KEY}1\"")), "line 10, api-key: must be 1 to 64"),
            (GOOD.replace("\"hush2\"", "\"\""), "line 11, secret: "),
            (GOOD.replace("\"hush2\"", "12345"), "line 11, secret: is no text"),
            (GOOD.replace("\"hush2\"", "\"hush2"), "line 11, secret: is no text, or is not closed"),
            (GOOD.replace("secret = \"hush2\"", "secret \"hush2\""), "line 11, this line: cannot be read"),
            (GOOD.replace("\"hush2\"", "\"\"\"\nhush2"), ""),
            (GOOD.replace("secret = \"hush2\"", "hush2"), "line 11, this line: cannot be read"),
            (GOOD.replace("\"open\"", "\"open\" secret = \"hush\""), "line 4, balances: "),
            (GOOD.replace("[\"read\"]", "[\"withdraw\"]"), "line 12, permissions: unknown variant `withdraw`"),
            (GOOD.replace("[\"read\"]", "[]"), "line 12, permissions: "),
            (GOOD.replace("[\"read\"]", "[\"read\", \"read\"]"), "line 12, permissions: "),
            (
                GOOD.replace("[\"read\"]", "[\"feed\", \"trade\"]"),
                "line 12, permissions: a key that feeds prices may not trade",
            ),
            (GOOD.replace("secret = \"hush2\"\n", ""), "line 9, secret: is missing"),
            (GOOD.replace("secret = \"hush2\"", "sekret = \"hush2\""), "line 11, sekret: unknown field `sekret`"),
            (GOOD.replace("name = \"bob\"\n", ""), "line 14, name: is missing"),
            (
                GOOD.split_once("[[account.key]]\napi-key = \"bobs\"").expect("it is there").0.to_owned(),
                "line 15, key: ",
            ),
            (String::new(), "line 1, account: there is no [[account]]"),
        ];
        for (text, wanted) in table {
            let said = refused(&text);
            assert!(said.starts_with(wanted), "{said}\nnot {wanted}");
            assert!(!said.contains("hush") && !said.contains("12345"), "a secret is shown: {said}");
        }
        let nowhere = Accounts::read(Path::new("/nowhere/accounts.toml")).map(|_| ()).expect_err("no file").to_string();
        assert!(nowhere.starts_with("/nowhere/accounts.toml: "), "{nowhere}");
    }

    #[test]
    fn no_secret_is_shown() {
        let shown = format!("{:?}", parse(GOOD).map_err(|wrong| wrong.what).expect("valid"));
        assert!(shown.contains("alice") && shown.contains(KEY) && !shown.contains("hush"), "{shown}");
    }
}
