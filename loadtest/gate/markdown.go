package gate

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// WriteMarkdown writes the report as the summary of a pull request, in the
// Markdown of GitHub: the conclusion as a heading, a table of the metrics that
// are gated, a list of failures, and folded away what is not gated, and the notes.
// It may be appended to the file that $GITHUB_STEP_SUMMARY names, which
// [Report.Check] does. The form may change.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "### %s\n\n", escape(r.conclusion()))
	markdownTable(&b, r, r.groups(true))
	markdownList(&b, r.Failures())
	rest := r.groups(false)
	if len(rest) > 0 {
		n := 0
		for _, g := range rest {
			n += len(g.rows)
		}
		verb := "are"
		if n == 1 {
			verb = "is"
		}
		folded(&b, fmt.Sprintf("%s that %s not gated", plural(n, "metric"), verb), func() { markdownTable(&b, r, rest) })
	}
	if len(r.Notes) > 0 {
		folded(&b, plural(len(r.Notes), "note"), func() { markdownList(&b, r.Notes) })
	}
	if r.AB != nil {
		fmt.Fprintf(&b, "%s.\n\n", escape(r.AB.sampled()))
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("gate: writing Markdown: %w", err)
	}
	return nil
}

func markdownTable(b *bytes.Buffer, r *Report, groups []group) {
	if len(groups) == 0 {
		return
	}
	// Names are long: once for each benchmark, in a row of their own, they do not
	// squeeze the numbers.
	floor := func(cell string) string {
		if r.AB == nil {
			return ""
		}
		return cell + " | "
	}
	fmt.Fprintf(b, "| | base | head | change | p | n | %sverdict |\n", floor("noise floor"))
	fmt.Fprintf(b, "|---|--:|--:|--:|--:|--:|%s---|\n", strings.ReplaceAll(floor("--:"), " ", ""))
	pkg := ""
	for _, g := range groups {
		if g.pkg != pkg {
			pkg = g.pkg
			fmt.Fprintf(b, "| %s | | | | | | %s|\n", code(pkg), floor(""))
		}
		fmt.Fprintf(b, "| **%s** | | | | | | %s|\n", code(g.benchmark), floor(""))
		for _, row := range g.rows {
			c := row.cells(r.Policy)
			verdict := c.verdict
			if c.failed {
				verdict = "**" + verdict + "**"
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s%s |\n", escape(c.unit),
				plusMinus(c.base, c.baseCI), plusMinus(c.head, c.headCI), c.change, escape(c.p), c.n, floor(c.floor), verdict)
		}
	}
	b.WriteByte('\n')
}

func markdownList(b *bytes.Buffer, sentences []string) {
	if len(sentences) == 0 {
		return
	}
	for _, s := range sentences {
		fmt.Fprintf(b, "- %s\n", escape(s))
	}
	b.WriteByte('\n')
}

// folded writes what can be unfolded by a click. The empty lines make GitHub
// take what is between as Markdown.
func folded(b *bytes.Buffer, summary string, write func()) {
	fmt.Fprintf(b, "<details><summary>%s</summary>\n\n", escape(summary))
	write()
	b.WriteString("</details>\n\n")
}

// markdownEscaper takes their meaning from the characters that have one inside a
// line of GitHub's Markdown, its tables ("|") and its formulas ("$"). Names and
// reasons come from the benchmarks of a pull request that somebody sent.
var markdownEscaper = strings.NewReplacer(
	"&", "&amp;", "<", "&lt;", ">", "&gt;",
	`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "#", `\#`, "|", `\|`, "~", `\~`, "$", `\$`, "!", `\!`,
)

// escape returns s as plain text within a line.
func escape(s string) string { return markdownEscaper.Replace(oneLine(s)) }

// code returns s as code. As a tag, as there is no escaping between backticks; and
// within code GitHub takes no @name for somebody to be notified.
func code(s string) string { return "<code>" + escape(s) + "</code>" }
