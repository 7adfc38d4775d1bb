from .routes import PageRoutes as PageRoutes
