//! Numbers as Go prints them.

/// Go's `%v` of a `float64`: the shortest digits, with an exponent below 1e-4 and from 1e21 on.
pub(crate) fn general(value: f64) -> String {
    print(value, 21)
}

/// As `yaml` prints a float: the shortest digits, with an exponent from 1e21 on (Go's `%g` with the shortest precision).
pub(crate) fn yaml(value: f64) -> String {
    print(value, 21)
}

/// As `encoding/json` prints a float.
pub(crate) fn json(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return match exponent.strip_prefix('-') {
            Some(exponent) => format!("{digits}e-{exponent}"),
            None => format!("{digits}e+{exponent:0>2}"),
        };
    }
    format!("{value}")
}

fn print(value: f64, limit: i32) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if exponent < -4 || exponent >= limit {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_go_prints_them() {
        for (value, shown) in
            [(1.1, "1.1"), (1000.0, "1000"), (0.0001, "0.0001"), (0.00001, "1e-05"), (1e20, "100000000000000000000"), (1e21, "1e+21")]
        {
            assert_eq!(general(value), shown);
        }
        assert_eq!(json(0.3), "0.3");
        assert_eq!(json(1e21), "1e+21");
        assert_eq!(json(1e-7), "1e-7");
    }
}
