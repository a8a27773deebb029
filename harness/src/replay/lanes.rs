//! Lanes in the terminal: a column for each role, an arrow for each message.

/// Columns of text, one for each name.
#[derive(Debug, Clone)]
pub(crate) struct Lanes {
    names: Vec<String>,
    wide: usize,
}

impl Lanes {
    /// Lanes of this width, characters.
    pub(crate) const fn new(names: Vec<String>, wide: usize) -> Self {
        Self { names, wide }
    }

    /// The width of all of them.
    pub(crate) const fn width(&self) -> usize {
        self.names.len() * self.wide
    }

    /// The names over their lanes, in one line.
    pub(crate) fn head(&self) -> String {
        let wide = self.wide;
        self.names.iter().map(|name| format!("{name:^wide$}")).collect()
    }

    /// The same in two lines: `subscriber` over `0`.
    pub(crate) fn two_heads(&self) -> [String; 2] {
        let part = |pick: fn(&str) -> &str| {
            let wide = self.wide;
            let cell = |name: &String| {
                let word: String = pick(name).chars().take(wide - 1).collect();
                format!("{word:^wide$}")
            };
            self.names.iter().map(cell).collect::<String>()
        };
        [
            part(|name| {
                name.rsplit_once('-').filter(|(_, index)| is_number(index)).map_or(name, |(kind, _)| kind)
            }),
            part(|name| {
                name.rsplit_once('-').filter(|(_, index)| is_number(index)).map_or("", |(_, index)| index)
            }),
        ]
    }

    fn lane(&self, name: &str) -> usize {
        self.names.iter().position(|lane| lane == name).unwrap_or(0)
    }

    const fn middle(&self, lane: usize) -> usize {
        lane * self.wide + self.wide / 2
    }

    /// One row: an arrow from a lane to another, or a mark in a lane.
    pub(crate) fn row(&self, from: &str, to: Option<&str>, mark: char) -> String {
        let mut cells: Vec<char> = vec![' '; self.width()];
        (0..self.names.len()).for_each(|lane| cells[self.middle(lane)] = '│');
        let from = self.middle(self.lane(from));
        match to.map(|to| self.middle(self.lane(to))) {
            Some(to) if to != from => {
                let (left, right) = (from.min(to), from.max(to));
                cells[left + 1..right].fill('─');
                if from < to { cells[right - 1] = '>' } else { cells[left + 1] = '<' }
            }
            _ => cells[from] = mark,
        }
        cells.into_iter().collect()
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_cross_the_lanes_between() {
        let lanes = Lanes::new(["publisher-0", "redis", "subscriber-0"].map(str::to_owned).into(), 11);
        let [kinds, numbers] = lanes.two_heads();
        let rows = [
            kinds,
            numbers,
            lanes.row("publisher-0", Some("redis"), '●'),
            lanes.row("publisher-0", Some("subscriber-0"), '●'),
            lanes.row("subscriber-0", Some("redis"), '●'),
            lanes.row("subscriber-0", None, '×'),
            lanes.row("redis", Some("redis"), '●'),
        ];
        let expected = [
            " publisher    redis   subscriber ",
            "     0                     0     ",
            "     │─────────>│          │     ",
            "     │────────────────────>│     ",
            "     │          │<─────────│     ",
            "     │          │          ×     ",
            "     │          ●          │     ",
        ];
        assert_eq!(rows, expected);
    }
}
