//! URLs without secrets, for causes. Causes go into the log, `status` and `explain`, which many people read, and
//! servers redirect with tokens, codes and signatures in the query, under names that no list can cover.

/// `https://***@host/path?token=***&***#***`: the user, every value of the query and the fragment are hidden.
pub(super) fn shown(url: &str) -> String {
    const HIDDEN: &str = "***";
    let (rest, fragment) = match url.split_once('#') {
        Some((rest, fragment)) => (rest, Some(fragment)),
        None => (url, None),
    };
    let (place, query) = match rest.split_once('?') {
        Some((place, query)) => (place, Some(query)),
        None => (rest, None),
    };
    let mut shown = String::with_capacity(url.len());
    match place.split_once("//") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            shown.push_str(scheme);
            shown.push_str("//");
            match authority.rsplit_once('@') {
                Some((_, host)) => shown.extend([HIDDEN, "@", host]),
                None => shown.push_str(authority),
            }
            shown.push_str(path);
        }
        None => shown.push_str(place),
    }
    if let Some(query) = query {
        for (part, sign) in query.split('&').zip(std::iter::once('?').chain(std::iter::repeat('&'))) {
            shown.push(sign);
            match part.split_once('=') {
                Some((key, _)) => shown.extend([key, "=", HIDDEN]),
                None if part.is_empty() => {}
                None => shown.push_str(HIDDEN),
            }
        }
    }
    if let Some(fragment) = fragment {
        shown.push('#');
        shown.push_str(if fragment.is_empty() { "" } else { HIDDEN });
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_what_may_be_a_secret() {
        let table = [
            ("http://web:8080/a/b", "http://web:8080/a/b"),
            ("/login?token=X&code=Y=Z&X&", "/login?token=***&code=***&***&"),
            ("https://u:X@web/?sig=X#id_token=X", "https://***@web/?sig=***#***"),
            ("//u:X@[::1]:80", "//***@[::1]:80"),
            ("http://web?X", "http://web?***"),
            ("/a@b?", "/a@b?"),
            ("/back?to=http://u:X@web/", "/back?to=***"),
            ("mailto:a@b", "mailto:a@b"),
            ("", ""),
        ];
        for (url, expected) in table {
            assert_eq!(shown(url), expected);
        }
    }
}
