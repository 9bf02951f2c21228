package main

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// caEnv names a file like --ca.
const caEnv = "REGISTRY_NODE_CA"

// addCAFlag adds the flag for servers whose certificate this machine doesn't
// trust by itself.
func (t *target) addCAFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&t.ca, "ca", "", "PEM `file` with a certificate to trust, beside those of this machine (default $"+caEnv+")")
	must(cmd.MarkPersistentFlagFilename("ca", "pem", "crt"))
}

// roots returns the certificates to trust; nil are those of this machine.
func (t *target) roots() (*x509.CertPool, error) {
	file := cmp.Or(t.ca, os.Getenv(caEnv))
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("certificate to trust: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // this machine has none
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("certificate to trust: %s has no certificate in PEM", file)
	}
	return pool, nil
}
