package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"registry-node/node"
)

// maxEvent bounds one event of a stream, in bytes.
const maxEvent = 4 << 20

// watchStatus prints how the sites stand whenever that changes, until ctx ends:
// on a terminal as a table that is drawn anew, elsewhere as a line each.
func (c *client) watchStatus(cmd *cobra.Command, asJSON bool) error {
	out := cmd.OutOrStdout()
	show := changePrinter()
	switch {
	case asJSON:
		show = func(w io.Writer, _ *node.Replication, raw []byte) error {
			_, err := fmt.Fprintf(w, "%s\n", raw)
			return err
		}
	case isTerminal(out):
		show = redraw
	}
	for raw, err := range c.changes(cmd.Context()) {
		if cmd.Context().Err() != nil {
			return nil // that is how it ends
		}
		if err != nil {
			return err
		}
		var rep node.Replication
		if err := json.Unmarshal(raw, &rep); err != nil {
			return fmt.Errorf("answer from %s: %w", c.where, err)
		}
		if err := show(out, &rep, raw); err != nil {
			return err
		}
	}
	return nil
}

// redraw shows the table on a clear screen.
func redraw(w io.Writer, rep *node.Replication, _ []byte) error {
	var screen bytes.Buffer // written at once, so that it does not flicker
	screen.WriteString("\x1b[H\x1b[2J")
	fmt.Fprintf(&screen, "as seen from %s at %s; Ctrl-C ends it\n\n", rep.Site, time.Now().Format(time.TimeOnly))
	if err := printSitesStatus(&screen, rep); err != nil {
		return err
	}
	if err := printTroubles(&screen, sitesTroubles(rep)); err != nil {
		return err
	}
	_, err := screen.WriteTo(w)
	return err
}

// changePrinter returns what prints all sites in one line, unless that is the
// line from before.
func changePrinter() func(w io.Writer, rep *node.Replication, _ []byte) error {
	before := ""
	return func(w io.Writer, rep *node.Replication, _ []byte) error {
		line := changeText(rep)
		if line == before {
			return nil
		}
		before = line
		_, err := fmt.Fprintln(w, time.Now().Format(time.RFC3339), line)
		return err
	}
}

// changeText shows all sites in one line.
func changeText(rep *node.Replication) string {
	var line strings.Builder
	line.WriteString(rep.Agreement)
	for _, s := range rep.Sites {
		fmt.Fprintf(&line, "; %s %s", s.Name, stateText(s))
		if b := behindText(s); b != dash {
			fmt.Fprintf(&line, ", behind %s", b)
		}
		if b := missingText(s); b != dash {
			fmt.Fprintf(&line, ", blobs missing %s", b)
		}
	}
	if n := len(sitesTroubles(rep)); n > 0 {
		fmt.Fprintf(&line, "; to see to: %d", n)
	}
	return line.String()
}

// changes yields the JSON of node.Replication, as it is and whenever it changes.
// It ends with an error.
func (c *client) changes(ctx context.Context) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		req, err := c.request(ctx, http.MethodGet, replicationPath+"/stream", nil, nil)
		if err != nil {
			yield(nil, err)
			return
		}
		resp, err := c.send(req)
		if err != nil {
			yield(nil, err)
			return
		}
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, maxEvent)
		for lines.Scan() {
			data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
			if ok && !yield(data, nil) {
				return
			}
		}
		err = lines.Err()
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		yield(nil, fmt.Errorf("%s: the stream broke off: %w", c.where, err))
	}
}
