package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// isTerminal reports whether a person sees what is written to w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// printJSON prints v for machines.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// table prints rows in columns.
type table struct{ *tabwriter.Writer }

func newTable(w io.Writer) table {
	return table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
}

func (t table) row(cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		texts[i] = oneLine(fmt.Sprint(c))
	}
	fmt.Fprintln(t, strings.TrimRight(strings.Join(texts, "\t"), "\t"))
}

// oneLine keeps a text within its cell, and lets nothing in it speak to the
// terminal: such texts may come from anywhere.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, strings.Join(strings.Fields(s), " "))
}

// list shows elements with commas between them, and that there are none.
func list[T fmt.Stringer](elems []T) string { return listOr(elems, "-") }

// listOr is list with what to show if there are none.
func listOr[T fmt.Stringer](elems []T, none string) string {
	if len(elems) == 0 {
		return none
	}
	all := make([]string, len(elems))
	for i, e := range elems {
		all[i] = e.String()
	}
	return texts(all)
}

// texts is list for texts.
func texts(elems []string) string {
	if len(elems) == 0 {
		return "-"
	}
	return strings.Join(elems, ", ")
}

// bytesText shows a number of bytes to a person.
func bytesText[T int64 | uint64](n T) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/1024, 0
	for ; v >= 1024 && i < len(units)-1; i++ {
		v /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", v, units[i])
}

// jsonFlag adds --json to cmd.
func jsonFlag(cmd *cobra.Command, v *bool) {
	cmd.Flags().BoolVar(v, "json", false, "print JSON, for programs")
}
