"""Experts: question -> plan of calls. The grounded one knows the evidence; see CONTRIBUTING."""
