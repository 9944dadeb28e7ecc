"""The data protection officer's web pages: who received what, why, and the proof that the log tells the truth.

The pages are made on the server and need no build step, no outside host and hardly any script. Whatever is shown was
recorded first: each page that reads the log appends a `console-read` entry before it answers, and answers nothing if
it cannot. What is shown is asked at the desk (`gateway.desk`); texts are those of `texts/console.toml`.
"""
