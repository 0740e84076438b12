//! The keys of a hook.

use super::section::section;
use super::shape::{
    EVENT_KIND, NOT_AT_ALL, PATH, SOME_TEXT, TEXT, UP_TO_AN_HOUR, URL, WAIT, either, list, map, section, some,
};
use crate::check::kinds::tls;

section! {
    HOOK("hook", "under a hook").exactly_one_of(&[&["command", "shell", "url"]]).only_one_of(&[&["secret", "secret_file", "secret_credential"]]).with(&[
        ("headers", "url"), ("tls", "url"), ("secret", "url"), ("secret_file", "url"), ("secret_credential", "url"),
        ("retry_for", "url")
    ]).off("remove the hook to switch it off") {
        /// the program to run, with its absolute path, and its arguments
        command: some(&TEXT) => written("list") called(&["cmd", "program", "script", "exec"]);
        /// a command line for `/bin/sh` instead
        shell: SOME_TEXT;
        /// the address to post to instead, `http://` or `https://`, without user name and fragment
        url: URL => written("URL") called(&["webhook", "uri", "endpoint"]);
        /// the kinds of events: [all of them](hooks.md#kinds-of-events)
        on: some(&EVENT_KIND) =>
            written("list") default("all that the log shows at level `info`")
            called(&["events", "event", "kinds", "when", "triggers"]);
        /// only events of these services, and none of checks and peers
        services: list(&TEXT) => written("list of names") default("all") called(&["service"]);
        /// the time after which the program is killed with its process group, or a request has failed
        timeout: WAIT => written("100ms to 10m") default("10s");
        /// the user of the program, only with its primary group
        user: TEXT => written("user name") default("that of the daemon");
        /// the group of the program
        group: TEXT => written("group name") default("that of the user");
        /// the working directory
        directory: PATH => default("that of the daemon") called(&["cwd", "working_directory", "chdir"]);
        /// its environment; names that begin with `VIPCAST_` are reserved, and values are never shown
        environment: map(&TEXT) => written("map") called(&["env"]);
        /// headers of the request, or another `content-type`; names that begin with `webhook-` are reserved, and values are
        /// never shown
        headers: map(&TEXT) => written("map");
        /// for https: the keys of [`tls`](checks.md#tls) except the first three
        tls: section(&tls::OPTIONS) => written("map");
        /// the key of the signature, 1 to 4096 bytes; if everyone may read the configuration file, `check` and a reload
        /// refuse it, and a start warns
        secret: TEXT => called(&["key", "token", "password"]);
        /// a file with the secret in its only line, neither readable nor writable for others
        secret_file: PATH => called(&["key_file", "password_file"]);
        /// the secret from `LoadCredential=name:…` of the systemd unit
        secret_credential: TEXT => written("name") called(&["password_credential"]);
        /// the time for which a failed request is repeated; later events wait meanwhile
        retry_for: either(&[UP_TO_AN_HOUR, NOT_AT_ALL]) =>
            written("duration, at most 1h") default("1m") called(&["retries", "retry"]);
    }
}
