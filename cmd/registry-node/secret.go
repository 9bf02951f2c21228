package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"registry-node/events"
	"registry-node/node"
)

func secretCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secret",
		Short: "Keep the credentials that upstreams ask for, and the keys of webhooks, at this site",
		Long: `Keep the credentials that upstreams and proxies ask for, and the keys that sign what
webhooks are sent. A repository names the former ("repo set NAME --secrets
HOST=SECRET"), a webhook its key, and that is all that is in the log. The
secrets themselves are set at each site, in its data directory, in files that
only their owner can read. They count at once, also while the node runs.

A node also takes the secret NAME from its environment, if there is no file:
` + node.SecretEnvPrefix + `NAME, with capitals and _ for -, in the form that
"secret set" reads.`,
	}
	var data string
	cmd.PersistentFlags().StringVar(&data, "data", "", "data `directory` of the site")
	must(cmd.MarkPersistentFlagDirname("data"))
	cmd.AddCommand(secretSetCommand(&data), secretListCommand(&data), secretRemoveCommand(&data))
	return group(cmd)
}

// secretsIn returns the secrets in the directory that --data names.
func secretsIn(data string) (*node.Secrets, error) {
	if data == "" {
		return nil, usagef("--data is missing: secrets are in a site's data directory, and nowhere else")
	}
	return node.OpenSecrets(data)
}

func secretSetCommand(data *string) *cobra.Command {
	var kind string
	var generate bool
	cmd := &cobra.Command{
		Use:   "set NAME --data DIR [--kind webhook [--generate]]",
		Short: "Keep a secret, in place of the one of that name",
		Long: `Keep a secret. At a terminal it asks for what there is to know. Otherwise it reads
one of these from standard input:

  {"basic": {"user": "…", "password": "…"}}
  {"bearer": {"token": "…"}}
  {"header": {"name": "…", "value": "…"}}
  {"certificate": {"cert": "PEM, with its chain", "key": "PEM"}}
  {"webhook": {"key": "whsec_…"}}

With --kind webhook it reads the key alone, as the receiver gives it (whsec_ and the
base64 of 24 to 64 bytes); with --generate as well it makes one, and prints that
alone, for the receiver:

  registry-node secret set ci-hook --data DIR --kind webhook --generate

It is never taken from the command line, which others on the machine can see.`,
		Args:              wants("NAME"),
		ValidArgsFunction: completeSecrets(data),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := events.ParseRepoName(args[0])
			if err != nil {
				return usageError{fmt.Errorf("secret: %w", err)}
			}
			secrets, err := secretsIn(*data)
			if err != nil {
				return err
			}
			if kind != "" || generate {
				return setWebhookKey(cmd, secrets, name, kind, generate)
			}
			text, err := readSecret(cmd.InOrStdin(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			secret, err := node.ParseSecret(text)
			if err != nil {
				return fmt.Errorf("what was read is no secret: %w", err)
			}
			if err := secrets.Set(name, secret); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "kept %s (%s)\n", name, secret.Kind())
			return err
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "`webhook`: read the key of a webhook, and nothing around it")
	cmd.Flags().BoolVar(&generate, "generate", false, "make the key of a webhook, and print it")
	must(cmd.RegisterFlagCompletionFunc("kind", completeWords("webhook")))
	return cmd
}

// maxStdin bounds what is read of a secret, in bytes.
const maxStdin = 128 << 10

// readSecret reads the text of a secret, or asks a person for it.
func readSecret(stdin io.Reader, prompts io.Writer) ([]byte, error) {
	in, ok := stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return io.ReadAll(io.LimitReader(stdin, maxStdin))
	}
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, prompts}, "")
	old, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, err
	}
	defer term.Restore(int(in.Fd()), old)
	return askSecret(func(what string, hidden bool) (string, error) {
		if hidden {
			return t.ReadPassword(what + ": ")
		}
		t.SetPrompt(what + ": ")
		return t.ReadLine()
	})
}

// askSecret asks for what a secret is made of; what is hidden is not shown.
func askSecret(ask func(what string, hidden bool) (string, error)) ([]byte, error) {
	kind, err := ask("kind (basic, bearer, header, certificate, webhook)", false)
	if err != nil {
		return nil, err
	}
	type question struct {
		field, what  string
		hidden, file bool
	}
	forms := map[string][]question{
		"basic":       {{field: "user", what: "user"}, {field: "password", what: "password", hidden: true}},
		"bearer":      {{field: "token", what: "token", hidden: true}},
		"header":      {{field: "name", what: "name of the header"}, {field: "value", what: "value", hidden: true}},
		"webhook":     {{field: "key", what: "key (whsec_…)", hidden: true}},
		"certificate": {{field: "cert", what: "PEM file with the certificate and its chain", file: true}, {field: "key", what: "PEM file with its key", file: true}},
	}
	form, ok := forms[kind]
	if !ok {
		return nil, fmt.Errorf("kind %q is none of basic, bearer, header, certificate, webhook", kind)
	}
	fields := map[string]string{}
	for _, q := range form {
		answer, err := ask(q.what, q.hidden)
		if err != nil {
			return nil, err
		}
		if q.file {
			text, err := os.ReadFile(answer)
			if err != nil {
				return nil, err
			}
			answer = string(text)
		}
		fields[q.field] = answer
	}
	return json.Marshal(map[string]map[string]string{kind: fields})
}

func secretListCommand(data *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list --data DIR",
		Short: "List the names and kinds of secrets, and nothing else of them",
		Args:  wants(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			secrets, err := secretsIn(*data)
			if err != nil {
				return err
			}
			list, err := secrets.List()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), map[string][]node.SecretInfo{"secrets": list})
			}
			t := newTable(cmd.OutOrStdout())
			t.row("NAME", "KIND", "PROBLEM")
			for _, s := range list {
				t.row(s.Name, orDash(s.Kind), s.Problem)
			}
			return t.Flush()
		},
	}
	jsonFlag(cmd, &asJSON)
	return cmd
}

func secretRemoveCommand(data *string) *cobra.Command {
	return &cobra.Command{
		Use:               "remove NAME --data DIR",
		Short:             "Remove a secret",
		Long:              "Remove a secret. A repository that names it asks its upstream no more, and says why.",
		Args:              wants("NAME"),
		ValidArgsFunction: completeSecrets(data),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := events.ParseRepoName(args[0])
			if err != nil {
				return usageError{fmt.Errorf("secret: %w", err)}
			}
			secrets, err := secretsIn(*data)
			if err != nil {
				return err
			}
			if err := secrets.Remove(name); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "removed %s\n", name)
			return err
		},
	}
}

// completeSecrets completes the name of a secret.
func completeSecrets(data *string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var names []cobra.Completion
		if secrets, err := secretsIn(*data); err == nil && len(args) == 0 {
			list, _ := secrets.List() // what can't be read is not completed
			for _, s := range list {
				names = append(names, s.Name.String())
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
