//! How each dialect of filters compares a pattern with a topic.

/// Redis's `stringmatchlen`: on a mismatch, the last `*` takes one byte more.
/// Linear in memory, at most quadratic in time, never exponential.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() && pattern[p] == b'*' {
            retry = Some((p + 1, t));
            p += 1;
            continue;
        }
        if p == pattern.len() && t == text.len() {
            return true;
        }
        let step = (p < pattern.len() && t < text.len()).then(|| one(&pattern[p..], text[t])).flatten();
        match (step, retry) {
            (Some(width), _) => {
                p += width;
                t += 1;
            }
            (None, Some((after_star, taken))) if taken < text.len() => {
                retry = Some((after_star, taken + 1));
                (p, t) = (after_star, taken + 1);
            }
            _ => return false,
        }
    }
}

/// The width of the pattern's first element, if it matches `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern[0] {
        b'?' => Some(1),
        b'\\' if pattern.len() > 1 => (pattern[1] == byte).then_some(2),
        b'[' => {
            let negated = pattern.get(1) == Some(&b'^');
            let mut at = if negated { 2 } else { 1 };
            let mut found = false;
            while at < pattern.len() && pattern[at] != b']' {
                if pattern[at] == b'\\' && at + 1 < pattern.len() {
                    found |= pattern[at + 1] == byte;
                    at += 2;
                } else if at + 2 < pattern.len() && pattern[at + 1] == b'-' {
                    let (low, high) = (pattern[at].min(pattern[at + 2]), pattern[at].max(pattern[at + 2]));
                    found |= (low..=high).contains(&byte);
                    at += 3;
                } else {
                    found |= pattern[at] == byte;
                    at += 1;
                }
            }
            (found != negated).then_some((at + 1).min(pattern.len()))
        }
        literal => (literal == byte).then_some(1),
    }
}

/// AMQP 0-9-1, section 3.1.3.3: `*` matches one word, `#` zero or more. The
/// set of positions reached so far stands in for backtracking.
pub(super) fn words(pattern: &str, topic: &str) -> bool {
    let topic: Vec<&str> = topic.split('.').collect();
    let mut reached = vec![false; topic.len() + 1];
    reached[0] = true;
    for word in pattern.split('.') {
        let mut next = vec![false; topic.len() + 1];
        let mut any_before = false;
        for at in 0..=topic.len() {
            any_before |= reached[at];
            next[at] = match word {
                "#" => any_before,
                "*" => at > 0 && reached[at - 1],
                plain => at > 0 && reached[at - 1] && topic[at - 1] == plain,
            };
        }
        reached = next;
    }
    reached[topic.len()]
}

/// NATS: `*` matches one word, and `>`, which can only be the last, one or more.
pub(super) fn subjects(pattern: &str, topic: &str) -> bool {
    let mut topic = topic.split('.');
    for word in pattern.split('.') {
        match (word, topic.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (plain, Some(word)) if plain == word => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}
