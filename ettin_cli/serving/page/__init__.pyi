from .routes import PageRoutes as PageRoutes, editor_template as editor_template
