//! The page: hand-written, without a build step and without anything from elsewhere.

/// The page, which asks for the other two.
pub(super) const HTML: &str = include_str!("page/index.html");

/// How the page names its style, which a report carries itself.
pub(super) const STYLE: &str = "<link rel=\"stylesheet\" href=\"/inspect/app.css\">";

/// The same for the script.
pub(super) const SCRIPT: &str = "<script src=\"/inspect/app.js\" defer></script>";

/// The style.
pub(super) fn css() -> &'static str {
    concat!(
        include_str!("page/theme.css"),
        include_str!("page/layout.css"),
        include_str!("page/detail.css"),
    )
}

/// The script. Its parts share one scope, in this order.
pub(super) fn js() -> &'static str {
    concat!(
        "\"use strict\";\n",
        include_str!("page/dom.js"),
        include_str!("page/filter.js"),
        include_str!("page/store.js"),
        include_str!("page/list.js"),
        include_str!("page/diff.js"),
        include_str!("page/waterfall.js"),
        include_str!("page/detail.js"),
        include_str!("page/panels.js"),
        include_str!("page/actions.js"),
        include_str!("page/main.js"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_can_be_made_a_report() {
        assert_eq!(HTML.matches(STYLE).count(), 1);
        assert_eq!(HTML.matches(SCRIPT).count(), 1);
        // What would end the element that a report puts them into.
        assert!(!css().to_lowercase().contains("</style"));
        assert!(!js().to_lowercase().contains("</script"));
    }

    #[test]
    fn the_page_holds_to_its_own_policy() {
        for inline in [" style=", " onclick=", " onload=", "<style", "javascript:"] {
            assert!(!HTML.contains(inline), "{inline}");
        }
        for dynamic in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "eval(",
            "document.write",
        ] {
            assert!(!js().contains(dynamic), "{dynamic}");
        }
        for foreign in ["https://", "//cdn"] {
            assert!(
                !HTML.contains(foreign) && !css().contains(foreign),
                "{foreign}"
            );
        }
    }
}
