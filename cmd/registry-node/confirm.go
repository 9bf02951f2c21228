package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// confirm asks the person at the terminal whether to go on with what can't be
// taken back, unless the flag --yes has said so. Where there is no terminal it
// is a usage error not to say it.
func confirm(cmd *cobra.Command, yes bool, question string) error {
	if yes {
		return nil
	}
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return usagef("it can't be taken back; say --yes if that is what you want")
	}
	return answered(in, cmd.ErrOrStderr(), question)
}

// answered asks a question, and returns errNo unless the answer is yes.
func answered(in io.Reader, out io.Writer, question string) error {
	fmt.Fprintf(out, "%s [yes/no] ", question)
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && err != io.EOF {
		return err
	}
	if strings.TrimSpace(line) != "yes" {
		fmt.Fprintln(out, "nothing is done")
		return errNo
	}
	return nil
}

// yesFlag adds --yes to cmd.
func yesFlag(cmd *cobra.Command, v *bool) {
	cmd.Flags().BoolVar(v, "yes", false, "don't ask")
}
