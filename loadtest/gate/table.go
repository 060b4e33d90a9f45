package gate

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// tableWidth is what sentences are wrapped to: the logs of CI are read in a
// browser, and cut or wrap without mercy what is much wider.
const tableWidth = 118

// WriteTable writes the report for a person to read, in a fixed-width font: a
// table like benchstat's with the verdicts, metrics that are not gated after
// those that are, then a sentence for each failure, then notes, and in the last
// line the conclusion, which begins with "PASS: " or "FAIL: ". The form may
// change.
//
// Medians are shown with their confidence interval of 95 % ("∞" if there are too
// few samples for one), scaled as benchstat scales them; floor is AB's noise
// floor. The change is that of the head against the base: +10 % is more, whether
// more is better or not.
//
// It is safe among benchmark results: to a program that reads them, such as
// benchstat, no line is a result, a unit or a configuration.
func (r *Report) WriteTable(w io.Writer) error {
	var t table
	t.report(r)
	_, err := w.Write(t.Bytes())
	if err != nil {
		return fmt.Errorf("gate: writing the table: %w", err)
	}
	return nil
}

// A table is text in columns. Each line but the last begins with a space, or with
// a capital in words that are ours: the format of benchmark results takes
// "word: text" and what begins with "Benchmark" or "Unit " as its own, and names
// and reasons may have any form.
type table struct {
	bytes.Buffer
}

const (
	pkgIndent  = " "
	nameIndent = "  "
	unitIndent = "    "
)

func (t *table) report(r *Report) {
	judged, rest := r.groups(true), r.groups(false)
	header := []string{"", "base", "", "", "head", "", "", "change", "p", "n", "floor", "verdict"}
	lines := [][]string{header}
	add := func(groups []group) {
		for _, g := range groups {
			for _, row := range g.rows {
				lines = append(lines, t.line(row, r.Policy))
			}
		}
	}
	add(judged)
	if len(judged) > 0 || len(rest) > 0 {
		add(rest)
		widths := columnWidths(lines)
		if r.AB == nil {
			widths[10] = -1 // there is no noise floor
		}
		t.row(widths, header)
		next := t.groups(widths, judged, lines[1:])
		if len(rest) > 0 {
			fmt.Fprintln(t, "\nNot gated")
			t.groups(widths, rest, next)
		}
	}
	t.section("Failures", r.Failures())
	t.section("Notes", r.Notes)
	if t.Len() > 0 {
		t.WriteByte('\n')
	}
	if r.AB != nil {
		t.sentence("", r.AB.sampled()+".")
	}
	fmt.Fprintln(t, r.conclusion())
}

// line returns the columns of row.
func (t *table) line(row Row, p Policy) []string {
	c := row.cells(p)
	l := []string{unitIndent + c.unit, "-", "", "", "-", "", "", c.change, c.p, c.n, c.floor, c.verdict}
	if c.base != "" {
		copy(l[1:], []string{c.base, "±", c.baseCI})
	}
	if c.head != "" {
		copy(l[4:], []string{c.head, "±", c.headCI})
	}
	if !row.judged() {
		copy(l[8:], []string{"", c.n, "", ""})
	}
	return l
}

// groups writes the lines of the groups and returns those that are left.
func (t *table) groups(widths []int, groups []group, lines [][]string) [][]string {
	pkg := ""
	for _, g := range groups {
		if g.pkg != pkg {
			pkg = g.pkg
			fmt.Fprintln(t, pkgIndent+oneLine(pkg))
		}
		fmt.Fprintln(t, nameIndent+oneLine(g.benchmark))
		for range g.rows {
			t.row(widths, lines[0])
			lines = lines[1:]
		}
	}
	return lines
}

// columnWidths returns how wide each column has to be.
func columnWidths(lines [][]string) []int {
	widths := make([]int, len(lines[0]))
	for _, l := range lines {
		for i, cell := range l {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

// gaps are before each column: "±" stands close to its numbers.
var gaps = []int{0, 3, 1, 1, 3, 1, 1, 3, 2, 2, 2, 2}

// row writes a line of columns, the first and the last of them to the left, and
// none whose width is negative.
func (t *table) row(widths []int, l []string) {
	var b strings.Builder
	for i, cell := range l {
		if widths[i] < 0 {
			continue
		}
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if i == 0 || i == len(l)-1 {
			cell += pad
		} else {
			cell = pad + cell
		}
		b.WriteString(strings.Repeat(" ", gaps[i]) + cell)
	}
	fmt.Fprintln(t, strings.TrimRight(b.String(), " "))
}

// section writes a list of sentences under a heading, nothing without any.
func (t *table) section(heading string, sentences []string) {
	if len(sentences) == 0 {
		return
	}
	if t.Len() > 0 {
		t.WriteByte('\n')
	}
	fmt.Fprintln(t, heading)
	for _, s := range sentences {
		t.sentence("  - ", s)
	}
}

// sentence writes s wrapped, its first line after first and others below it.
func (t *table) sentence(first, s string) {
	indent := first
	width := utf8.RuneCountInString(first)
	col := 0
	for text := range strings.Lines(s) {
		for _, word := range strings.Fields(text) {
			n := utf8.RuneCountInString(word)
			switch {
			case col == 0:
				t.WriteString(indent + word)
				col = width + n
			case col+1+n > tableWidth:
				indent = strings.Repeat(" ", max(width, 2))
				t.WriteString("\n" + indent + word)
				col = len(indent) + n
			default:
				t.WriteString(" " + word)
				col += 1 + n
			}
		}
		if col > 0 {
			t.WriteByte('\n')
			indent = strings.Repeat(" ", max(width, 2))
			col = 0
		}
	}
}

// oneLine keeps a name from ending its line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// short rounds d to three digits or so.
func short(d time.Duration) time.Duration {
	for unit := time.Duration(1); unit < time.Hour; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit)
		}
	}
	return d.Round(time.Second)
}
