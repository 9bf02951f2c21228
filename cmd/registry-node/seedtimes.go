package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"registry-node/node"
)

// Bounds of what is sent at a time, below those of the node.
const (
	seedBytes = 512 << 10
	seedLine  = 16 << 10 // of a line, in bytes
)

func repoSeedTimesCommand(t *target) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "seed-times NAME FILE",
		Short: "Tell a remote repository since when versions are known",
		Long: `Tell a remote repository since when versions are known, so that a minimum age does
not take the whole world for new. FILE (- for standard input) has a line of JSON for
each version, as the index of a module proxy has them:

  {"Path":"example.org/m","Version":"v1.0.0","Timestamp":"2024-01-02T03:04:05Z"}

Other fields are passed over. What is told again changes nothing, so an interrupted
run can be repeated.`,
		Args: wants("NAME", "FILE"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return t.completeRepo(cmd, args, word)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := ofRepo(args, "/times")
			if err != nil {
				return err
			}
			in := cmd.InOrStdin()
			if args[1] != "-" {
				f, err := os.Open(args[1])
				if err != nil {
					return err
				}
				defer f.Close()
				in = f
			}
			c, err := t.client()
			if err != nil {
				return err
			}
			defer c.close()
			s := seeder{client: c, path: path, progress: countProgress(cmd.ErrOrStderr())}
			err = s.run(cmd.Context(), in)
			s.progress.end()
			if err != nil {
				return fmt.Errorf("%w; %d versions before that are done", err, s.total.Recorded+s.total.Known)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), s.total)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d versions are recorded; %d were known for as long already\n", s.total.Recorded, s.total.Known)
			return err
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

// seeder sends lines to the node in batches.
type seeder struct {
	client   *client
	path     string
	progress *progress
	batch    []node.Dated
	size     int // of the batch, in bytes of its lines
	total    node.Seeded
}

func (s *seeder) run(ctx context.Context, in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, seedLine)
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		var d node.Dated
		if err := json.Unmarshal(line, &d); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if d.Path == "" || d.Version == "" || d.Timestamp.IsZero() {
			return fmt.Errorf("line %d lacks Path, Version or Timestamp", n)
		}
		s.batch = append(s.batch, d)
		if s.size += len(line) + 64; s.size >= seedBytes || len(s.batch) == node.MaxDates {
			if err := s.send(ctx, n); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return s.send(ctx, 0)
}

// send sends the batch; its last line is the one with number last, unless that is 0.
func (s *seeder) send(ctx context.Context, last int) error {
	if len(s.batch) == 0 {
		return nil
	}
	var got node.Seeded
	if err := s.client.call(ctx, http.MethodPost, s.path, map[string][]node.Dated{"times": s.batch}, &got); err != nil {
		if last > 0 {
			err = fmt.Errorf("up to line %d: %w", last, err)
		}
		return err
	}
	s.total.Recorded += got.Recorded
	s.total.Known += got.Known
	s.batch, s.size = s.batch[:0], 0
	s.progress.show("versions", uint64(s.total.Recorded+s.total.Known))
	return nil
}
