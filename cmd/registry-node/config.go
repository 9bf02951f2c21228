package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"
)

// A setting of serve is a flag, and has a second and a third form that are made
// from its name: for --tls-cert the environment variable
// REGISTRY_NODE_TLS_CERT and the key tls-cert in the configuration file. The
// flag wins over the variable, that over the file, that over the default.

const (
	envPrefix  = "REGISTRY_NODE_"
	configFlag = "config" // names the file, and has no key in it
)

// envName returns the environment variable that stands for a flag.
func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// completeFlags sets the flags in fs that the command line did not from the
// environment, and the others from the configuration file, if one is named.
// Errors are usageErrors, or say why the file can't be read.
func completeFlags(fs *pflag.FlagSet) error {
	if err := setFromEnv(fs); err != nil {
		return err
	}
	file, err := fs.GetString(configFlag)
	if err != nil || file == "" {
		return err
	}
	values, err := readConfig(file)
	if err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		f := fs.Lookup(key)
		if f == nil || key == configFlag || key == "help" {
			return usagef("%s: unknown key %q; there are: %s", file, key, strings.Join(configKeys(fs), ", "))
		}
		if f.Changed {
			continue
		}
		if err := fs.Set(key, values[key]); err != nil {
			return usagef("%s: %s: %q is no value for it: %w", file, key, values[key], cause(err))
		}
	}
	return nil
}

func setFromEnv(fs *pflag.FlagSet) (err error) {
	fs.VisitAll(func(f *pflag.Flag) {
		v, ok := os.LookupEnv(envName(f.Name))
		if !ok || f.Changed || f.Name == "help" || err != nil {
			return
		}
		if e := fs.Set(f.Name, v); e != nil {
			err = usagef("%s: %q is no value for it: %w", envName(f.Name), v, cause(e))
		}
	})
	return err
}

// cause returns what is wrong with a flag's value, without the flag.
func cause(err error) error {
	if e := new(pflag.InvalidValueError); errors.As(err, &e) {
		return e.Unwrap()
	}
	return err
}

// configKeys returns the keys that a configuration file may have, sorted.
func configKeys(fs *pflag.FlagSet) (keys []string) {
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Name != configFlag && f.Name != "help" {
			keys = append(keys, f.Name)
		}
	})
	slices.Sort(keys)
	return keys
}

// maxConfig bounds the configuration file, in bytes.
const maxConfig = 64 << 10

// readConfig reads the values in a YAML file of keys and plain values.
func readConfig(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("configuration: %w", err)
	case len(text) > maxConfig:
		return nil, usagef("%s: larger than %d KiB", file, maxConfig>>10)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var nodes map[string]yaml.Node
	if err := dec.Decode(&nodes); err != nil && !errors.Is(err, io.EOF) {
		return nil, usagef("%s: %w", file, err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, usagef("%s: more than one document", file)
	}
	values := map[string]string{}
	for key, n := range nodes {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			return nil, usagef("%s: line %d: %s needs one plain value", file, n.Line, key)
		}
		values[key] = n.Value
	}
	return values, nil
}
