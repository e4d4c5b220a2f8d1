"""Many measurements made for one answer: suites, the paper's guidelines, the article's claims."""
