"""The HTTP side: requests to questions, answers and errors to responses. It knows neither Git nor the disk's layout."""
