"""`lgnet app`: the page in the browser, served by this machine to itself. docs/app.md says what it does and why so."""
