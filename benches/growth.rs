//! How a figure grows with a number: least squares on both, or on their logarithms.

/// A straight line through points.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// The increase of the figure per unit of the number.
    pub slope: f64,
    /// The fraction of the figure's variance that the line explains; 1 is all of it.
    pub r2: f64,
}

/// The best fit; none where all points have the same number.
#[expect(clippy::cast_precision_loss, reason = "some points")]
pub fn line(points: &[(f64, f64)]) -> Option<Line> {
    let count = points.len() as f64;
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(&|point| point.0), mean(&|point| point.1));
    let sum = |of: &dyn Fn(f64, f64) -> f64| points.iter().map(|point| of(point.0 - x, point.1 - y)).sum::<f64>();
    let (xx, xy, yy) = (sum(&|dx, _| dx * dx), sum(&|dx, dy| dx * dy), sum(&|_, dy| dy * dy));
    if points.len() < 2 || xx <= 0.0 {
        return None;
    }
    // A constant figure lies exactly on its line.
    let r2 = if yy > 0.0 { xy * xy / (xx * yy) } else { 1.0 };
    Some(Line { slope: xy / xx, r2 })
}

/// `figure = factor * number ^ slope`: 0 does not grow, 1 doubles with the number. Zeros have no logarithm and are left out.
pub fn power(points: &[(f64, f64)]) -> Option<Line> {
    let logarithms: Vec<_> = points.iter().filter(|(x, y)| *x > 0.0 && *y > 0.0).map(|(x, y)| (x.ln(), y.ln())).collect();
    line(&logarithms)
}
